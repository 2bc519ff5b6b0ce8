// Lists that end by a byte, trees and hashes that begin with a count, and fds beside the bytes.
import { describe, expect, test } from "vitest";
import { describe as describeParts } from "../../src/vmstate/description.ts";
import {
  type Description,
  fd,
  ghash,
  ghashDirectKey,
  gtree,
  gtreeDirectKey,
  load,
  maxDepth,
  type PassedFd,
  qlist,
  qtailq,
  type StateOf,
  save,
  since,
  struct,
  trace,
  uint8,
  uint32,
  uint64,
  vmstate,
} from "../../src/vmstate/index.ts";
import { bytesOf, caught, codeOf, hexOf, invalidTable, validTable } from "./table.ts";

const element = vmstate({ name: "element", version: 1, fields: { value: uint8() } });

for (const [name, kind] of [
  ["qlist", qlist],
  ["qtailq", qtailq],
] as const) {
  const described = vmstate({ name: "l", version: 1, fields: { items: kind(element), after: uint8() } });
  validTable(name, described, [
    { state: { items: [], after: 7 }, hex: "00 07" },
    { state: { items: [{ value: 1 }, { value: 2 }], after: 7 }, hex: "0101 0102 00 07" },
  ]);
  invalidTable(name, described, [
    // Correct: 01 or 00. QEMU takes any byte but 00 for one more element.
    { hex: "0101 0202 00", code: "ERR_BAD_BYTE", path: "l/items[1]", offset: 2 },
    { hex: "0101", code: "ERR_EOF", path: "l/items[1]", offset: 2 },
    { hex: "01", code: "ERR_EOF", path: "l/items[0]/element/value", offset: 1 },
    { state: { items: {}, after: 1 }, code: "ERR_VALUE", path: "l/items" },
    { state: { items: [{ value: 1 }, { value: 256 }], after: 1 }, code: "ERR_VALUE", path: "l/items[1]/element/value" },
  ]);
}

test("elements that could not be loaded as they are saved are refused when they are described", () => {
  const old = vmstate({ name: "element", version: 3, minimumVersion: 2, fields: { value: uint8() } });
  const grown = vmstate({ name: "element", version: 2, fields: { value: uint8(), more: since(2, uint8()) } });
  const kinds: Record<string, <State>(one: Description<State>, options: { version?: number }) => unknown> = {
    qlist: (one, options) => qlist(one, options),
    qtailq: (one, options) => qtailq(one, options),
    "ghash value": (one, options) => ghash({ key: element, value: one, ...options }),
    "ghash key": (one, options) => ghash({ key: one, value: element, ...options }),
    ghashDirectKey: (one, options) => ghashDirectKey({ value: one, ...options }),
    gtreeDirectKey: (one, options) => gtreeDirectKey({ value: one, ...options }),
  };
  for (const [name, kind] of Object.entries(kinds)) {
    const refused = <State>(one: Description<State>, options: { version?: number }) => {
      const error = caught(() => kind(one, options));
      expect([name, codeOf(error)]).toEqual([name, "ERR_DESCRIPTION"]);
      return String(error);
    };
    expect(refused(old, {})).toContain(
      "at version 0, but the description accepts 2 to 3; give the field { version: 3 }",
    );
    refused(old, { version: 1 });
    refused(old, { version: 4 });
    expect(refused(grown, {})).toContain('is saved at 2, with "more", which 0 does not have');
    refused(grown, { version: 1 });
  }
  expect(() => qlist(old, { version: 2 })).not.toThrow();
  const items = { items: [{ value: 1, more: 2 }] };
  const list = vmstate({ name: "l", version: 9, fields: { items: qlist(grown, { version: 2 }) } });
  expect(load(list, save(list, items))).toEqual(items);
});

describe("a table of one's own", () => {
  const number = vmstate({ name: "n", version: 0, fields: { n: uint8() } });
  const byContent = () => {
    const entries = new Map<number, [{ n: number }, { n: number }]>();
    return {
      get size() {
        return entries.size;
      },
      set: (key: { n: number }, value: { n: number }) => entries.set(key.n, [key, value]),
      forEach: (visit: (value: { n: number }, key: { n: number }) => void) => {
        for (const [key, value] of entries.values()) visit(value, key);
      },
    };
  };
  const bytes = bytesOf("00000002 01 01 05 01 02 06 00 01 07 01 08 00");
  const describing = (reuse: boolean) =>
    vmstate({
      name: "t",
      version: 0,
      fields: {
        hash: ghash({ key: number, value: number, create: byContent, reuse }),
        list: qlist(number, { create: (): { n: number }[] => [], reuse }),
      },
    });
  const pairs = (table: ReturnType<typeof byContent>) => {
    const found: [number, number][] = [];
    table.forEach((value, key) => {
      found.push([key.n, value.n]);
    });
    return found;
  };

  test("gets an object of its own for each entry, which it may keep", () => {
    const { hash, list } = load(describing(false), { bytes });
    expect(pairs(hash)).toEqual([
      [1, 5],
      [2, 6],
    ]);
    expect(list).toEqual([{ n: 7 }, { n: 8 }]);
    const direct = vmstate({
      name: "d",
      version: 0,
      fields: { hash: ghashDirectKey({ value: number, create: () => new Map<bigint, { n: number }>() }) },
    });
    const loaded = load(direct, { bytes: bytesOf("00000002 01 0000000000000001 05 01 0000000000000002 06 00") });
    expect([...loaded.hash]).toEqual([
      [1n, { n: 5 }],
      [2n, { n: 6 }],
    ]);
  });

  test("loads what trace shows", () => {
    const { hash } = load(describing(false), { bytes });
    const shown = trace(describing(false), { bytes }).spans.filter(({ path }) => path.endsWith("/n"));
    expect(shown.slice(0, 4).map(({ value }) => value)).toEqual(pairs(hash).flat());
  });

  test("may ask for one object for all, and copies then", () => {
    const { hash, list } = load(describing(true), { bytes });
    expect(pairs(hash)).toEqual([
      [2, 6],
      [2, 6],
    ]);
    expect(list[0]).toBe(list[1]);
  });
});

const key = vmstate({ name: "interval", version: 0, fields: { low: uint64(), high: uint64() } });
const value = vmstate({ name: "mapping", version: 0, fields: { phys: uint64(), flags: uint32() } });
type Node = [StateOf<typeof key>, StateOf<typeof value>];
const compare = (a: { low: bigint }, b: { low: bigint }) => (a.low < b.low ? -1 : a.low > b.low ? 1 : 0);
const tree = vmstate({ name: "domain", version: 1, fields: { mappings: gtree({ key, value, compare }) } });
// The interval tree of QEMU's own unit test.
const example = `00000002
  01 0000000000001000 0000000000001fff 000000000000a000 00000001
  01 0000000000004000 0000000000004fff 00000000000e0000 00000002
  00`;
const first: Node = [
  { low: 0x1000n, high: 0x1fffn },
  { phys: 0xa000n, flags: 1 },
] as const;
const second: Node = [
  { low: 0x4000n, high: 0x4fffn },
  { phys: 0xe0000n, flags: 2 },
] as const;
validTable("gtree", tree, [
  { title: "QEMU's example", state: { mappings: new Map([first, second]) }, hex: example },
  { title: "empty", state: { mappings: new Map() }, hex: "00000000 00" },
]);
test("a gtree is saved in its order, whatever that of the Map", () => {
  expect(hexOf(save(tree, { mappings: new Map([second, first]) }).bytes)).toBe(example.replaceAll(/\s/g, ""));
});
test("of equal keys in a gtree the last wins", () => {
  const twice = bytesOf(`00000002
    01 0000000000001000 0000000000001fff 000000000000a000 00000001
    01 0000000000001000 0000000000001fff 000000000000b000 00000002 00`);
  expect([...load(tree, { bytes: twice }).mappings.values()]).toEqual([{ phys: 0xb000n, flags: 2 }]);
});
invalidTable("gtree", tree, [
  { title: "fewer than announced", hex: "00000001 00", code: "ERR_COUNT", path: "domain/mappings", offset: 4 },
  { title: "more than announced", hex: "00000000 01", code: "ERR_COUNT", path: "domain/mappings[0]", offset: 4 },
  { title: "more than the bytes hold", hex: "7fffffff 00", code: "ERR_COUNT", path: "domain/mappings", offset: 0 },
  { title: "no flag", hex: "00000001 30", code: "ERR_BAD_BYTE", path: "domain/mappings[0]", offset: 4 },
  { title: "cut in a key", hex: "00000001 01 00", code: "ERR_EOF", path: "domain/mappings[0]/interval/low", offset: 5 },
  { state: { mappings: [] }, code: "ERR_VALUE", path: "domain/mappings" },
]);

const direct = vmstate({ name: "d", version: 1, fields: { tree: gtreeDirectKey({ value: element }) } });
validTable("gtree with direct keys", direct, [
  {
    state: {
      tree: new Map([
        [1n, { value: 7 }],
        [2n ** 64n - 1n, { value: 8 }],
      ]),
    },
    hex: "00000002 01 0000000000000001 07 01 ffffffffffffffff 08 00",
  },
]);
invalidTable("gtree with direct keys", direct, [
  { title: "no bigint", state: { tree: new Map([[1, { value: 7 }]]) }, code: "ERR_VALUE", path: "d/tree[0]" },
]);

const hash = vmstate({ name: "h", version: 1, fields: { table: ghash({ key: element, value: element }) } });
validTable("ghash", hash, [{ state: { table: new Map([[{ value: 1 }, { value: 2 }]]) }, hex: "00000001 01 01 02 00" }]);
const hashDirect = vmstate({ name: "h", version: 1, fields: { table: ghashDirectKey({ value: element }) } });
validTable("ghash with direct keys, in the table's own order", hashDirect, [
  {
    state: {
      table: new Map([
        [9n, { value: 2 }],
        [1n, { value: 3 }],
      ]),
    },
    hex: "00000002 01 0000000000000009 02 01 0000000000000001 03 00",
  },
]);

const holder = vmstate({ name: "holder", version: 1, fields: { a: fd(), n: uint8(), b: fd() } });
const fds: PassedFd[] = [
  { offset: 0, fd: 5 },
  { offset: 2, fd: 6 },
];
validTable("fd", holder, [{ state: { a: 5, n: 1, b: 6 }, hex: "20 01 20", fds }]);
invalidTable("fd", holder, [
  { hex: "21 01 20", fds, code: "ERR_BAD_BYTE", path: "holder/a", offset: 0 },
  { hex: "20 01 20", fds: fds.slice(0, 1), code: "ERR_FD_MISSING", path: "holder/b", offset: 2 },
  { title: "late", hex: "20 01 20", fds: [{ offset: 1, fd: 5 }], code: "ERR_FD_MISSING", path: "holder/a", offset: 0 },
  {
    title: "one too many",
    hex: "20 01 20",
    fds: [...fds, { offset: 2, fd: 7 }],
    code: "ERR_FD_SURPLUS",
    path: "",
    offset: 3,
  },
  { state: { a: -2, n: 1, b: 6 }, code: "ERR_VALUE", path: "holder/a" },
  { state: { a: 2 ** 31, n: 1, b: 6 }, code: "ERR_VALUE", path: "holder/a" },
  { state: { a: 0.5, n: 1, b: 6 }, code: "ERR_VALUE", path: "holder/a" },
]);
test("fds as numbers in the stream", () => {
  const output = save(holder, { a: 5, n: 1, b: 6 }, { fdForm: "number" });
  expect(hexOf(output.bytes)).toBe("000000050100000006");
  expect(output.fds).toEqual([]);
  expect(load(holder, { ...output, fdForm: "number" })).toEqual({ a: 5, n: 1, b: 6 });
  const bad = caught(() => load(holder, { bytes: bytesOf("ffffffff"), fdForm: "number" }));
  expect(bad).toMatchObject({ code: "ERR_RANGE", path: "holder/a", offset: 0 });
});
test("a stream without its fds loads all the same", () => {
  expect(load(holder, { bytes: bytesOf("200120") })).toEqual({ a: -1, n: 1, b: -1 });
});

test("structures that nest too deep are refused when they are described", () => {
  const outer = (inner: Description<Record<string, unknown>>) =>
    describeParts({
      ...{ name: "d", version: 1, minimumVersion: 0, subsections: [] },
      fields: [{ name: "inner", field: struct(inner) }],
    });
  let described = outer(describeParts({ name: "d", version: 1, minimumVersion: 0, fields: [], subsections: [] }));
  for (let depth = 2; depth < maxDepth; depth++) described = outer(described);
  const state = load(described, { bytes: bytesOf("") });
  expect(save(described, state).bytes.length).toBe(0);
  expect(codeOf(caught(() => outer(described)))).toBe("ERR_DESCRIPTION");
});
