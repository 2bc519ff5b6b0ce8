// Arrays of fixed and counted length, of every kind of element.
import { expect, test } from "vitest";
import {
  array,
  array2d,
  buffer,
  capability,
  int8,
  int32,
  load,
  struct,
  uint8,
  uint16,
  uint32,
  uint64,
  unusedBuffer,
  varray,
  vmstate,
  vstruct,
} from "../../src/vmstate/index.ts";
import { bytesOf, caught, codeOf, invalidTable, validTable } from "./table.ts";

const fixed = vmstate({ name: "fixed", version: 1, fields: { ring: array(uint16(), 3) } });
validTable("array", fixed, [{ state: { ring: [1, 2, 0xffff] }, hex: "0001 0002 ffff" }]);
invalidTable("array", fixed, [
  // The rest cannot hold three elements: found before the first is read.
  { hex: "0001 0002", code: "ERR_COUNT", path: "fixed/ring", offset: 0 },
  { state: { ring: [1, 2] }, code: "ERR_VALUE", path: "fixed/ring" },
  { state: { ring: [1, 2, 3, 4] }, code: "ERR_VALUE", path: "fixed/ring" },
  { state: { ring: [1, 2, 65_536] }, code: "ERR_VALUE", path: "fixed/ring[2]" },
  { state: { ring: [1, undefined, 3] }, code: "ERR_VALUE", path: "fixed/ring[1]" },
  { state: { ring: 5 }, code: "ERR_VALUE", path: "fixed/ring" },
]);

for (const [name, count, digits] of [
  ["uint8", uint8(), 2],
  ["uint16", uint16(), 4],
  ["int32", int32(), 8],
  ["uint32", uint32(), 8],
] as const) {
  const described = vmstate({ name: "v", version: 1, fields: { count, items: varray("count", uint8()) } });
  const hexOf = (value: number) => value.toString(16).padStart(digits, "0");
  validTable(`varray by ${name}`, described, [
    { state: { count: 0, items: [] }, hex: hexOf(0) },
    { state: { count: 2, items: [7, 8] }, hex: `${hexOf(2)} 07 08` },
  ]);
  invalidTable(`varray by ${name}`, described, [
    { hex: `${hexOf(100)} 07 08`, code: "ERR_COUNT", path: "v/items", offset: digits / 2 },
    { state: { count: 3, items: [7, 8] }, code: "ERR_VALUE", path: "v/items" },
  ]);
}

const signed = vmstate({ name: "v", version: 1, fields: { count: int32(), items: varray("count", uint64()) } });
invalidTable("varray with a count that QEMU takes for none", signed, [
  { hex: "ffffffff", code: "ERR_LIMIT", path: "v/items", offset: 4 },
  { hex: "7fffffff 0000000000000000", code: "ERR_COUNT", path: "v/items", offset: 4 },
]);
const long = vmstate({ name: "v", version: 1, fields: { count: uint32(), items: varray("count", uint8()) } });
invalidTable("varray by a count of 2^31 and more", long, [
  { hex: "80000000 00", code: "ERR_LIMIT", path: "v/items", offset: 4 },
  { hex: "ffffffff 00", code: "ERR_LIMIT", path: "v/items", offset: 4 },
]);

const multiplied = vmstate({ name: "m", version: 1, fields: { n: uint8(), items: varray("n", int8(), { times: 3 }) } });
validTable("multiplied count", multiplied, [{ state: { n: 1, items: [1, -1, 2] }, hex: "01 01 ff 02" }]);
invalidTable("multiplied count", multiplied, [
  { hex: "02 01 ff 02", code: "ERR_COUNT", path: "m/items", offset: 1 },
  { state: { n: 1, items: [1] }, code: "ERR_VALUE", path: "m/items" },
]);

const point = vmstate({ name: "point", version: 3, fields: { x: uint8(), y: uint8() } });
const points = vmstate({ name: "points", version: 1, fields: { n: uint8(), at: varray("n", struct(point)) } });
validTable("array of structs", points, [
  {
    state: {
      n: 2,
      at: [
        { x: 1, y: 2 },
        { x: 3, y: 4 },
      ],
    },
    hex: "02 0102 0304",
  },
]);
invalidTable("array of structs", points, [
  { hex: "02 0102 03", code: "ERR_COUNT", path: "points/at", offset: 1 },
  { state: { n: 1, at: [{ x: 1 }] }, code: "ERR_VALUE", path: "points/at[0]/point/y" },
]);

validTable("array of vstructs", vmstate({ name: "points", version: 1, fields: { at: array(vstruct(point, 2), 2) } }), [
  {
    state: {
      at: [
        { x: 1, y: 2 },
        { x: 3, y: 4 },
      ],
    },
    hex: "0102 0304",
  },
]);

validTable("rows of columns", vmstate({ name: "t", version: 1, fields: { cells: array2d(uint8(), 2, 3) } }), [
  {
    state: {
      cells: [
        [1, 2, 3],
        [4, 5, 6],
      ],
    },
    hex: "010203 040506",
  },
]);
invalidTable("rows of columns", vmstate({ name: "t", version: 1, fields: { cells: array2d(uint8(), 2, 3) } }), [
  { hex: "0102030405", code: "ERR_COUNT", path: "t/cells", offset: 0 },
  { state: { cells: [[1, 2, 3], [4]] }, code: "ERR_VALUE", path: "t/cells[1]" },
]);

validTable("array of buffers", vmstate({ name: "b", version: 1, fields: { keys: array(buffer(2), 2) } }), [
  { state: { keys: [bytesOf("0102"), bytesOf("0304")] }, hex: "0102 0304" },
]);

validTable(
  "array of texts of various lengths",
  vmstate({ name: "c", version: 1, fields: { n: uint32(), names: varray("n", capability()) } }),
  [{ state: { n: 2, names: ["ab", ""] }, hex: "00000002 026162 00" }],
);

validTable(
  "counted padding",
  vmstate({ name: "u", version: 1, fields: { n: uint8(), unused: varray("n", unusedBuffer(2)) } }),
  [{ state: { n: 2, unused: [undefined, undefined] }, hex: "02 0000 0000" }],
);

const empty = vmstate({ name: "empty", version: 1, fields: {} });
const empties = vmstate({ name: "e", version: 1, fields: { n: uint32(), items: varray("n", struct(empty)) } });
validTable("elements without bytes", empties, [{ state: { n: 2, items: [{}, {}] }, hex: "00000002" }]);
invalidTable("elements without bytes", empties, [
  { title: "too many of them", hex: "00001001", code: "ERR_COUNT", path: "e/items", offset: 4 },
  { hex: "7fffffff", code: "ERR_COUNT", path: "e/items", offset: 4 },
]);

test("elements that are there already are loaded into", () => {
  const gated = vmstate({ name: "p", version: 1, fields: { list: array(struct(point), 2) } });
  const kept = [
    { x: 0, y: 0, mine: "a" },
    { x: 0, y: 0, mine: "b" },
  ];
  expect(load(gated, { bytes: bytesOf("01020304") }, { into: { list: kept } }).list).toEqual([
    { x: 1, y: 2, mine: "a" },
    { x: 3, y: 4, mine: "b" },
  ]);
});

test.each([-1, 0.5, 2 ** 31, Number.NaN])("no array of %d", (length) => {
  expect(codeOf(caught(() => array(uint8(), length)))).toBe("ERR_DESCRIPTION");
  expect(codeOf(caught(() => varray("n", uint8(), { times: length })))).toBe("ERR_DESCRIPTION");
});

test("the count must stand before", () => {
  const wrong = () => vmstate({ name: "v", version: 1, fields: { items: varray("n", uint8()), n: uint8() } });
  expect(codeOf(caught(wrong))).toBe("ERR_DESCRIPTION");
});
