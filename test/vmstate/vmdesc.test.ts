// The JSON description: what is written for a state, what is built from it, and what hostile JSON gets.
import { describe, expect, test } from "vitest";
import {
  array,
  array2d,
  arrayOfMarkedPointers,
  arrayOfPointers,
  buffer,
  capability,
  existsIf,
  type Field,
  fromVmdesc,
  gtree,
  gtreeDirectKey,
  isCprkitError,
  load,
  parseVmdesc,
  qlist,
  qtailq,
  save,
  struct,
  toVmdesc,
  uint8,
  uint16,
  uint32,
  uint64,
  unusedBuffer,
  validate,
  varray,
  vbuffer,
  vmstate,
  vstruct,
  withTmp,
} from "../../src/vmstate/index.ts";
import { parseJson } from "../../src/vmstate/vmdesc/json.ts";
import { bytesOf, caught, codeOf, hexOf } from "./table.ts";

/** The entries that a field gets, without what stands round them. */
function entries<T>(field: Field<T>, value: T, style: "10.0" | "11.1" = "10.0"): string {
  const json = toVmdesc(vmstate({ name: "d", version: 1, fields: { f: field } }), { f: value }, { for: style });
  const before = '{"vmsd_name": "d", "version": 1, "fields": [';
  expect(json.startsWith(before)).toBe(true);
  return json.slice(before.length, -2);
}

const cell = vmstate({ name: "cell", version: 2, fields: { x: uint8() } });
const cellJson = '{"vmsd_name": "cell", "version": 2, "fields": [{"name": "x", "type": "uint8", "size": 1}]}';
const odd = vmstate({ name: "odd", version: 1, fields: { x: existsIf([], () => true, uint8()) } });
const oddJson = '{"vmsd_name": "odd", "version": 1, "fields": [{"name": "x", "type": "uint8", "size": 1}]}';

describe("written", () => {
  test.each<[string, () => string, string]>([
    ["a scalar", () => entries(uint32(), 1), '{"name": "f", "type": "uint32", "size": 4}'],
    ["a buffer", () => entries(buffer(3), bytesOf("010203")), '{"name": "f", "type": "buffer", "size": 3}'],
    [
      "a struct",
      () => entries(struct(cell), { x: 1 }),
      `{"name": "f", "type": "struct", "struct": ${cellJson}, "size": 1}`,
    ],
    [
      "a vstruct has its keys in the field",
      () => entries(vstruct(cell, 1), { x: 1 }),
      `{"name": "f", "type": "vstruct", ${cellJson.slice(1, -1).replace('"version": 2', '"version": 1')}, "size": 1}`,
    ],
    [
      "a tmp has its keys in the field",
      () => entries(withTmp(cell), { x: 1 }),
      `{"name": "f", "type": "tmp", ${cellJson.slice(1, -1)}, "size": 1}`,
    ],
    [
      "an array that compresses",
      () => entries(array(uint16(), 3), [1, 2, 3]),
      '{"name": "f", "array_len": 3, "type": "uint16", "size": 2}',
    ],
    ["an array of one", () => entries(array(uint16(), 1), [1]), '{"name": "f", "type": "uint16", "size": 2}'],
    ["an array of none", () => entries(array(uint16(), 0), []), ""],
    ["a check", () => entries(validate([], () => true) as Field<undefined>, undefined), ""],
    [
      "rows of columns",
      () =>
        entries(array2d(uint8(), 2, 3), [
          [1, 2, 3],
          [4, 5, 6],
        ]),
      '{"name": "f", "array_len": 6, "type": "uint8", "size": 1}',
    ],
    [
      "structs that compress",
      () => entries(array(struct(cell), 2), [{ x: 1 }, { x: 2 }]),
      `{"name": "f", "array_len": 2, "type": "struct", "struct": ${cellJson}, "size": 1}`,
    ],
    [
      "structs that do not: the last has no index",
      () => entries(array(struct(odd), 3), [{ x: 1 }, { x: 2 }, { x: 3 }]),
      `{"name": "f", "index": 0, "type": "struct", "struct": ${oddJson}, "size": 1}, ` +
        `{"name": "f", "index": 1, "type": "struct", "struct": ${oddJson}, "size": 1}, ` +
        `{"name": "f", "type": "struct", "struct": ${oddJson}, "size": 1}`,
    ],
    [
      "structs that do not, by QEMU 11: no index",
      () => entries(array(struct(odd), 2), [{ x: 1 }, { x: 2 }], "11.1"),
      `{"name": "f", "type": "struct", "struct": ${oddJson}, "size": 1}, {"name": "f", "type": "struct", "struct": ${oddJson}, "size": 1}`,
    ],
    [
      "vstructs compress whatever is in them",
      () => entries(array(vstruct(odd, 1), 2), [{ x: 1 }, { x: 2 }]),
      `{"name": "f", "array_len": 2, "type": "vstruct", ${oddJson.slice(1, -1)}, "size": 1}`,
    ],
    [
      "null pointers begin runs",
      () => entries(arrayOfPointers(uint16(), 6), [null, null, 1, 2, 3, null]),
      '{"name": "f", "array_len": 2, "type": "nullptr", "size": 1}, {"name": "f", "array_len": 3, "type": "uint16", "size": 2}, {"name": "f", "type": "nullptr", "size": 1}',
    ],
    [
      "QEMU counts too many in a first run of pointers that are set",
      () => entries(arrayOfPointers(uint16(), 5), [1, 2, null, null, 3]),
      '{"name": "f", "array_len": 5, "type": "uint16", "size": 2}, {"name": "f", "array_len": 2, "type": "nullptr", "size": 1}, {"name": "f", "type": "uint16", "size": 2}',
    ],
    [
      "null pointers by QEMU 11",
      () => entries(arrayOfPointers(uint16(), 3), [null, 1, 2], "11.1"),
      '{"name": "f", "type": "ptr-marker", "size": 1}, {"name": "f", "array_len": 2, "type": "uint16", "size": 2}',
    ],
    [
      "marked pointers",
      () => entries(arrayOfMarkedPointers(uint16(), 3), [1, null, 2], "11.1"),
      '{"name": "f", "type": "ptr-marker", "size": 1}, {"name": "f", "type": "uint16", "size": 2}, {"name": "f", "type": "ptr-marker", "size": 1}, {"name": "f", "type": "ptr-marker", "size": 1}, {"name": "f", "type": "uint16", "size": 2}',
    ],
    [
      "a list repeats its keys",
      () => entries(qtailq(cell, { version: 0 }), [{ x: 1 }, { x: 2 }]),
      `{"name": "f", "type": "qtailq", ${cellJson.slice(1, -1)}, ${cellJson.slice(1, -1)}, "size": 5}`,
    ],
    ["an empty list", () => entries(qlist(cell), []), '{"name": "f", "type": "qlist", "size": 1}'],
    [
      "a tree alternates key and value",
      () =>
        entries(
          gtree({ key: odd, value: cell, compare: (a, b) => (a.x ?? 0) - (b.x ?? 0) }),
          new Map([[{ x: 1 }, { x: 2 }]]),
        ),
      `{"name": "f", "type": "gtree", ${oddJson.slice(1, -1)}, ${cellJson.slice(1, -1)}, "size": 8}`,
    ],
  ])("%s", (_title, written, expected) => {
    expect(written()).toBe(expected);
  });

  test("subsections, only those that are sent; fields, only those that exist", () => {
    const sub = vmstate({
      name: "dev/sub",
      version: 3,
      fields: { y: uint16() },
      subsections: { deep: vmstate({ name: "dev/sub/deep", version: 1, fields: {} }) },
    });
    const dev = vmstate({
      name: "dev",
      version: 1,
      fields: { x: uint8(), never: existsIf([], () => false, uint8()) },
      subsections: { sub, other: vmstate({ name: "dev/other", version: 1, fields: {} }) },
    });
    expect(toVmdesc(dev, { x: 1, sub: { y: 2, deep: {} } }, { device: { name: '0:1/"dev"', instanceId: 4 } })).toBe(
      '{"name": "0:1/\\"dev\\"", "instance_id": 4, "vmsd_name": "dev", "version": 1, "fields": [{"name": "x", "type": "uint8", "size": 1}], ' +
        '"subsections": [{"vmsd_name": "dev/sub", "version": 3, "fields": [{"name": "y", "type": "uint16", "size": 2}], ' +
        '"subsections": [{"vmsd_name": "dev/sub/deep", "version": 1, "fields": []}]}]}',
    );
  });

  test("an array with a subsection in its elements does not compress, and its size counts them", () => {
    const deep = vmstate({
      name: "e",
      version: 1,
      fields: { x: uint8() },
      subsections: { s: vmstate({ name: "e/s", version: 1, fields: { y: uint8() } }) },
    });
    const json = entries(array(struct(deep), 2), [{ x: 1 }, { x: 2, s: { y: 3 } }]);
    expect(json).toContain('"index": 0');
    expect(
      json.endsWith(
        '"subsections": [{"vmsd_name": "e/s", "version": 1, "fields": [{"name": "y", "type": "uint8", "size": 1}]}]}, "size": 11}',
      ),
    ).toBe(true);
  });

  test("a state that cannot be saved cannot be described", () => {
    expect(caught(() => toVmdesc(cell, { x: 256 }))).toMatchObject({ code: "ERR_VALUE", path: "cell/x" });
  });
});

describe("built from what was written", () => {
  const compare = (a: { a: bigint }, b: { a: bigint }) => Number(a.a - b.a);
  const key = vmstate({ name: "key", version: 0, fields: { a: uint64() } });
  const value = vmstate({ name: "value", version: 0, fields: { b: uint8() } });
  const everything = vmstate({
    name: "all",
    version: 4,
    minimumVersion: 1,
    fields: {
      n: uint8(),
      text: vbuffer("n"),
      ring: array(uint16(), 3),
      grid: array2d(uint8(), 2, 2),
      names: varray("n", capability()),
      ptrs: arrayOfPointers(struct(cell), 4),
      odds: array(struct(odd), 2),
      list: qtailq(cell, { version: 0 }),
      tree: gtree({ key, value, compare }),
      direct: gtreeDirectKey({ value }),
      gap: unusedBuffer(2),
    },
    subsections: { more: vmstate({ name: "all/more", version: 2, fields: { z: uint64() } }) },
  });
  const state = {
    n: 2,
    text: bytesOf("abcd"),
    ring: [1, 2, 3],
    grid: [
      [1, 2],
      [3, 4],
    ],
    names: ["long name", ""],
    ptrs: [{ x: 1 }, { x: 2 }, null, { x: 3 }],
    odds: [{ x: 1 }, { x: 2 }],
    list: [{ x: 5 }, { x: 6 }],
    tree: new Map([
      [{ a: 1n }, { b: 2 }],
      [{ a: 2n }, { b: 3 }],
    ] as const),
    direct: new Map([[9n, { b: 4 }]]),
    more: { z: 2n ** 60n },
  } as Parameters<typeof save<StateOfEverything>>[1];
  type StateOfEverything = typeof everything extends import("../../src/vmstate/index.ts").Description<infer S>
    ? S
    : never;

  test.each(["10.0", "11.1"] as const)("%s", (style) => {
    const { bytes } = save(everything, state);
    const built = fromVmdesc(toVmdesc(everything, state, { for: style }));
    const plain = load(built.description, { bytes });
    expect(plain).toEqual({
      n: 2,
      text: bytesOf("abcd"),
      ring: [1, 2, 3],
      grid: [1, 2, 3, 4],
      names: ["long name", ""],
      ptrs: [{ x: 1 }, { x: 2 }, null, { x: 3 }],
      odds: [{ x: 1 }, { x: 2 }],
      list: [{ x: 5 }, { x: 6 }],
      tree: [
        { key: { a: 1n }, value: { b: 2 } },
        { key: { a: 2n }, value: { b: 3 } },
      ],
      direct: [{ key: 9n, value: { b: 4 } }],
      gap: bytesOf("0000"),
      "all/more": { z: 2n ** 60n },
    });
    expect(hexOf(save(built.description, plain).bytes)).toBe(hexOf(bytes));
    // The names are of various lengths: the JSON does not tell how long they are.
    expect(built.length).toBe(undefined);
    expect(built.description.version).toBe(4);
  });

  test("marked pointers tell themselves apart", () => {
    const marked = vmstate({ name: "m", version: 1, fields: { p: arrayOfMarkedPointers(struct(cell), 4) } });
    const state = { p: [{ x: 0x30 }, null, { x: 0x31 }, null] };
    const { bytes } = save(marked, state);
    const built = fromVmdesc(toVmdesc(marked, state, { for: "11.1" }));
    expect(load(built.description, { bytes })).toEqual(state);
    expect(built.length).toBe(bytes.length);
    expect(hexOf(save(built.description, state).bytes)).toBe(hexOf(bytes));
    expect(caught(() => save(built.description, { p: [null, null, null, null] }))).toMatchObject({ code: "ERR_VALUE" });
    expect(caught(() => load(built.description, { bytes: bytesOf("32") }))).toMatchObject({ code: "ERR_BAD_BYTE" });
  });

  const pointers = (entries: string) => fromVmdesc(`{"vmsd_name": "d", "version": 1, "fields": [${entries}]}`);
  const entry = (type: string, more = "") => `{"name": "p", ${more}"type": "${type}", "size": 1}`;
  test.each([
    [
      "the first run's length is the array's",
      [entry("uint8", '"array_len": 4, '), entry("nullptr"), entry("uint8")],
      [1, 2, null, 3],
      "01023003",
    ],
    [
      "null pointers first",
      [entry("nullptr", '"array_len": 2, '), entry("uint8", '"array_len": 2, ')],
      [null, null, 3, 4],
      "30300304",
    ],
    [
      "a producer without the fault",
      [entry("uint8", '"array_len": 2, '), entry("nullptr", '"array_len": 3, ')],
      [1, 2, null, null, null],
      "0102303030",
    ],
    [
      "each element its own, an array_len among them",
      [entry("nullptr", '"array_len": 2, '), entry("nullptr", '"array_len": 3, '), entry("uint8")],
      [null, null, 7],
      "303007",
    ],
    [
      "each element its own, with index",
      [entry("uint8", '"index": 0, '), entry("nullptr"), entry("uint8")],
      [1, null, 2],
      "013002",
    ],
    ["all with index (QEMU 9)", [entry("uint8", '"index": 0, '), entry("uint8", '"index": 1, ')], [1, 2], "0102"],
    ["one null", [entry("nullptr")], null, "30"],
    ["many nulls", [entry("ptr-marker", '"array_len": 3, ')], [null, null, null], "303030"],
  ])("runs: %s", (_title, list, value, hex) => {
    const built = pointers(list.join(", "));
    expect(load(built.description, { bytes: bytesOf(hex) })).toEqual({ p: value });
    expect(hexOf(save(built.description, { p: value }).bytes)).toBe(hex);
    expect(built.length).toBe(hex.length / 2);
  });

  test("a null pointer that is none", () => {
    const built = pointers([entry("uint8"), entry("nullptr")].join(", "));
    expect(caught(() => load(built.description, { bytes: bytesOf("0131") }))).toMatchObject({
      code: "ERR_BAD_BYTE",
      path: "d/p[1]",
      offset: 1,
    });
  });

  test("unknown types stay bytes", () => {
    const built = fromVmdesc(
      '{"vmsd_name":"d","version":7,"fields":[{"name":"config[0]","type":"pci config","size":3},{"name":"v","array_len":2,"type":"virtio","size":1}]}',
    );
    expect(load(built.description, { bytes: bytesOf("0102030405") })).toEqual({
      "config[0]": bytesOf("010203"),
      v: [bytesOf("04"), bytesOf("05")],
    });
  });

  test("names that objects have of themselves", () => {
    const built = fromVmdesc(
      '{"vmsd_name":"d","version":1,"fields":[{"name":"constructor","type":"uint8","size":1},{"name":"toString","type":"uint8 equal","size":1}]}',
    );
    const state = load(built.description, { bytes: bytesOf("0102") });
    expect(Object.entries(state)).toEqual([
      ["constructor", 1],
      ["toString", 2],
    ]);
    expect(hexOf(save(built.description, state).bytes)).toBe("0102");
  });

  test.each([
    [
      "parts that do not add up",
      '{"name":"s","type":"struct","struct":{"vmsd_name":"i","version":1,"fields":[]},"size":2}',
    ],
    [
      "a list whose elements a parser lost",
      '{"name":"s","type":"qtailq","vmsd_name":"i","version":1,"fields":[],"size":7}',
    ],
    [
      "a list without room for its elements",
      '{"name":"s","type":"gtree","vmsd_name":"i","version":1,"fields":[],"size":9}',
    ],
    ["a known type of another size", '{"name":"s","type":"uint32","size":5}'],
    [
      "a subsection that no loader would find",
      '{"name":"s","type":"struct","struct":{"vmsd_name":"i","version":1,"fields":[],"subsections":[{"vmsd_name":"x","version":1,"fields":[]}]},"size":7}',
    ],
  ])("%s: bytes, and a warning", (_title, field) => {
    const size = Number(/"size":(\d)}$/.exec(field)?.[1]);
    const root = parseVmdesc(
      `{"devices":[{"name":"idstr","instance_id":0,"vmsd_name":"d","version":1,"fields":[${field}]}]}`,
    );
    expect(root.warnings.length).toBeGreaterThan(0);
    expect(root.warnings.at(-1)?.path).toBe("idstr/s");
    const bytes = Uint8Array.from({ length: size }, (_, i) => i);
    const device = root.devices[0];
    if (device === undefined) throw new Error("no device");
    expect(device.length).toBe(size);
    expect(load(device.description, { bytes })).toEqual({ s: bytes });
  });

  test("an old-style handler is its bytes", () => {
    const root = parseVmdesc(
      '{"page_size":4096,"devices":[{"name":"slirp","instance_id":2,"size":3,"fields":[{"name":"data","size":3,"type":"buffer"}]}]}',
    );
    expect(root).toMatchObject({
      pageSize: 4096,
      configuration: undefined,
      devices: [{ name: "slirp", instanceId: 2, oldStyle: true, length: 3 }],
    });
    const [slirp] = root.devices;
    expect(slirp && load(slirp.description, { bytes: bytesOf("010203") })).toEqual({ data: bytesOf("010203") });
  });
});

describe("hostile JSON", () => {
  const body = (fields: string, more = "") => `{"vmsd_name": "d", "version": 1, "fields": [${fields}]${more}}`;
  const field = (more: string) => `{"name": "f", ${more}}`;
  test.each([
    ["nothing", "", "ERR_BAD_STREAM", 0],
    ["no object", "[]", "ERR_BAD_STREAM", 0],
    ["something after it", `${body("")} x`, "ERR_BAD_STREAM", 47],
    ["a text that does not end", '{"vmsd_name": "d', "ERR_BAD_STREAM", 14],
    ["an escape that is none", '{"vmsd_name": "\\x"}', "ERR_BAD_STREAM", 14],
    ["a NUL in a text", '{"vmsd_name": "\0"}', "ERR_BAD_STREAM", 15],
    ["a bare word", '{"vmsd_name": d}', "ERR_BAD_STREAM", 14],
    ["a comma too many", '{"vmsd_name": "d",}', "ERR_BAD_STREAM", 18],
    ["a number with a leading zero", '{"version": 01}', "ERR_BAD_STREAM", 12],
    ["no fields", '{"vmsd_name": "d", "version": 1}', "ERR_BAD_STREAM", 0],
    ["no name", '{"version": 1, "fields": []}', "ERR_BAD_STREAM", 0],
    ["a negative version", '{"vmsd_name": "d", "version": -1, "fields": []}', "ERR_BAD_STREAM", 30],
    ["half a version", '{"vmsd_name": "d", "version": 1.5, "fields": []}', "ERR_BAD_STREAM", 30],
    ["a version beyond 2^53", '{"vmsd_name": "d", "version": 9007199254740993, "fields": []}', "ERR_BAD_STREAM", 30],
    ["a negative size", body(field('"type": "x", "size": -1')), "ERR_BAD_STREAM", 79],
    ["a size of 2^31", body(field('"type": "x", "size": 2147483648')), "ERR_BAD_STREAM", 79],
    ["a negative array_len", body(field('"array_len": -5, "type": "x", "size": 1')), "ERR_BAD_STREAM", 71],
    ["a text for a size", body(field('"type": "x", "size": "4"')), "ERR_BAD_STREAM", 79],
    ["no type", body(field('"size": 4')), "ERR_BAD_STREAM", 44],
    ["__proto__", body('{"name": "__proto__", "type": "uint8", "size": 1}'), "ERR_BAD_STREAM", 44],
    ["an integer-like name", body('{"name": "12", "type": "uint8", "size": 1}'), "ERR_BAD_STREAM", 44],
    [
      "a name that comes again",
      body('{"name":"a","type":"x","size":1},{"name":"b","type":"x","size":1},{"name":"a","type":"x","size":1}'),
      "ERR_BAD_STREAM",
      110,
    ],
    ["fields that are no array", '{"vmsd_name": "d", "version": 1, "fields": 5}', "ERR_BAD_STREAM", 43],
  ])("%s", (_title, json, code, offset) => {
    const error = caught(() => fromVmdesc(json));
    expect([codeOf(error), isCprkitError(error) ? error.offset : undefined]).toEqual([code, offset]);
  });

  test("elements without bytes make no state of any size", () => {
    const many = fromVmdesc(body(field('"array_len": 2147483647, "type": "x", "size": 0')));
    expect(load(many.description, { bytes: bytesOf("") })).toEqual({ f: bytesOf("") });
    let inner = body(field('"type": "x", "size": 0'));
    const nest = (json: string) => body(field(`"array_len": 100, "type": "struct", "struct": ${json}, "size": 0`));
    for (let i = 0; i < 8; i++) inner = nest(inner);
    expect(load(fromVmdesc(inner).description, { bytes: bytesOf("") })).toEqual({ f: bytesOf("") });
    const few = fromVmdesc(body(field('"array_len": 3, "type": "x", "size": 0')));
    expect(load(few.description, { bytes: bytesOf("") })).toEqual({ f: [bytesOf(""), bytesOf(""), bytesOf("")] });
  });

  test("many fields without bytes in every element", () => {
    const empty = Array.from({ length: 60 }, (_, i) => `{"name": "z${i}", "type": "x", "size": 0}`).join(", ");
    const element = body(`${empty}, {"name": "b", "type": "uint8", "size": 1}`);
    const crowded = body(field(`"array_len": 1000, "type": "struct", "struct": ${element}, "size": 1`));
    expect(load(fromVmdesc(crowded).description, { bytes: new Uint8Array(1000) })).toEqual({ f: new Uint8Array(1000) });
    const device = crowded.replace("{", '{"name": "i", "instance_id": 0, ');
    expect(parseVmdesc(`{"devices": [${device}]}`).warnings).toMatchObject([{ path: "i/f" }]);
  });

  test("a huge array is refused before anything is allocated", () => {
    const built = fromVmdesc(body(field('"array_len": 2000000000, "type": "uint64", "size": 8')));
    expect(built.length).toBe(16_000_000_000);
    const error = caught(() => load(built.description, { bytes: new Uint8Array(1000) }));
    expect(error).toMatchObject({ code: "ERR_COUNT", path: "d/f", offset: 0 });
  });

  test("nesting", () => {
    expect(codeOf(caught(() => parseJson("[".repeat(100_000))))).toBe("ERR_DEPTH");
    let inner = body("");
    for (let i = 0; i < 150; i++) inner = body(field(`"type": "struct", "struct": ${inner}, "size": 0`));
    expect(codeOf(caught(() => fromVmdesc(inner)))).toBe("ERR_DEPTH");
  });

  test("JSON without a fault reads as JSON.parse reads it", () => {
    const text = ' { "a" : [ 1 , -2.5e3 , true, false , null , "\\u00e9\\n" ] , "b":{}, "c":[] } ';
    const plain = (value: ReturnType<typeof parseJson>): unknown => {
      if (value.kind === "scalar") return value.value;
      if (value.kind === "array") return value.items.map(plain);
      return Object.fromEntries(value.members.map((one) => [one.key, plain(one.value)]));
    };
    expect(plain(parseJson(text))).toEqual(JSON.parse(text));
  });
});

test("a subsection of another version than its JSON says is refused: it could not be written again", () => {
  const json =
    '{"vmsd_name":"d","version":1,"fields":[],"subsections":[' +
    '{"vmsd_name":"d/s","version":2,"fields":[{"name":"x","type":"uint8","size":1}]}]}';
  const { description } = fromVmdesc(json);
  const stream = (version: string) => bytesOf(`05 03 642f73 ${version} 09`);
  const sent = stream("00000002");
  expect(hexOf(save(description, load(description, { bytes: sent })).bytes)).toBe(hexOf(sent));
  expect(codeOf(caught(() => load(description, { bytes: stream("00000001") })))).toBe("ERR_VERSION_TOO_OLD");
  expect(codeOf(caught(() => load(description, { bytes: stream("00000003") })))).toBe("ERR_VERSION_TOO_NEW");
});

test("an array of timers of which one is not armed is written as it was read", () => {
  const timers = [0, 1].map((index) => `{"name":"t","index":${index},"type":"timer","size":8}`);
  const { description } = fromVmdesc(`{"vmsd_name":"d","version":1,"fields":[${timers}]}`);
  const sent = bytesOf("ffffffffffffffff 0000000000000007");
  const state = load(description, { bytes: sent });
  expect(state).toEqual({ t: [null, 7n] });
  expect(hexOf(save(description, state).bytes)).toBe(hexOf(sent));
});
