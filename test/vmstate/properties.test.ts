// Properties over random states and random damage: what was saved loads, and whatever else comes is one clear error or
// a reading that saves to the very bytes.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  array,
  bitmap,
  bool,
  buffer,
  capability,
  cpuDouble,
  cstring,
  type Description,
  fd,
  fromVmdesc,
  gbytearray,
  gtreeDirectKey,
  int8,
  int16,
  int32,
  int64,
  isCprkitError,
  load,
  qtailq,
  type StateOf,
  save,
  struct,
  timer,
  toVmdesc,
  uint8,
  uint16,
  uint32,
  uint64,
  varray,
  vbuffer,
  vmstate,
} from "../../src/vmstate/index.ts";

const leaf = vmstate({ name: "leaf", version: 1, fields: { a: uint8(), b: int64() } });
const scalars = vmstate({
  name: "scalars",
  version: 3,
  fields: {
    bool: bool(),
    int8: int8(),
    int16: int16(),
    int32: int32(),
    int64: int64(),
    uint16: uint16(),
    uint64: uint64(),
    timer: timer(),
    double: cpuDouble(),
    raw: buffer(5),
  },
});
const everything = vmstate({
  name: "all",
  version: 2,
  fields: {
    scalars: struct(scalars),
    namelen: uint32(),
    name: cstring("namelen", 1000),
    size: int32(),
    data: vbuffer("size"),
    count: uint16(),
    items: varray("count", struct(leaf)),
    bits: uint8(),
    map: bitmap("bits"),
    list: qtailq(leaf, { version: 1 }),
    tree: gtreeDirectKey({ value: leaf, version: 1 }),
    word: capability(),
    bytes: gbytearray(),
    fds: array(fd(), 2),
  },
  subsections: { more: vmstate({ name: "all/more", version: 1, fields: { leaf: struct(leaf) } }) },
});
type Everything = StateOf<typeof everything>;

const int = (bits: number, signed: boolean) =>
  signed
    ? fc.integer({ min: -(2 ** (bits - 1)), max: 2 ** (bits - 1) - 1 })
    : fc.integer({ min: 0, max: 2 ** bits - 1 });
const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const i64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const leaves = fc.record({ a: int(8, false), b: i64 });
const states: fc.Arbitrary<Everything> = fc
  .record({
    scalars: fc.record({
      bool: fc.boolean(),
      int8: int(8, true),
      int16: int(16, true),
      int32: int(32, true),
      int64: i64,
      uint16: int(16, false),
      uint64: u64,
      timer: fc.option(fc.bigInt({ min: 0n, max: 2n ** 64n - 2n }), { nil: null }),
      double: fc.double(),
      raw: fc.uint8Array({ minLength: 5, maxLength: 5 }),
    }),
    // Full strings of code points, without NUL and without lone surrogates.
    name: fc.string({ unit: "binary", maxLength: 30 }).filter((text) => !text.includes("\0")),
    data: fc.uint8Array({ maxLength: 20 }),
    items: fc.array(leaves, { maxLength: 5 }),
    map: fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }),
    list: fc.array(leaves, { maxLength: 5 }),
    tree: fc.uniqueArray(fc.tuple(u64, leaves), { maxLength: 5, selector: ([key]) => key }),
    word: fc.string({ maxLength: 20 }),
    bytes: fc.uint8Array({ maxLength: 20 }),
    fds: fc.tuple(int(31, false), int(31, false)),
    more: fc.option(fc.record({ leaf: leaves }), { nil: undefined }),
  })
  .map(({ tree, fds, ...rest }) => ({
    ...rest,
    namelen: Buffer.byteLength(rest.name) + 1,
    size: rest.data.length,
    count: rest.items.length,
    bits: 128,
    tree: new Map([...tree].sort(([a], [b]) => (a < b ? -1 : 1))),
    fds: [...fds],
  }));

// The seed is fixed: a run that fails can be run again.
const parameters = { seed: 20_261_123, numRuns: 300 };

describe("what was saved", () => {
  test("loads to the same state, and saves to the same bytes", () => {
    fc.assert(
      fc.property(states, (state) => {
        const output = save(everything, state);
        const loaded = load(everything, output);
        expect(loaded).toEqual(state);
        expect(save(everything, loaded)).toEqual(output);
      }),
      parameters,
    );
  });

  test("loads by the JSON that describes it, without its code", () => {
    fc.assert(
      fc.property(states, (state) => {
        const output = save(everything, state);
        const { description } = fromVmdesc(toVmdesc(everything, state));
        expect(save(description, load(description, output)).bytes).toEqual(output.bytes);
      }),
      { ...parameters, numRuns: 100 },
    );
  });
});

describe("whatever comes", () => {
  const honest = (description: Description<unknown>, bytes: Uint8Array) => {
    let state: unknown;
    try {
      state = load(description, { bytes });
    } catch (error) {
      if (!isCprkitError(error)) throw error;
      expect(error.offset).toBeGreaterThanOrEqual(0);
      expect(error.offset).toBeLessThanOrEqual(bytes.length);
      return;
    }
    // It was accepted: then nothing was guessed.
    expect(Buffer.from(save(description, state).bytes).equals(bytes)).toBe(true);
  };

  test("random bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => honest(everything as Description<unknown>, bytes)),
      { ...parameters, numRuns: 2000 },
    );
  });

  test("a saved state with bytes changed, left out or put in", () => {
    const damage = fc.array(
      fc.record({ at: fc.nat(400), kind: fc.constantFrom("set", "cut", "insert"), byte: int(8, false) }),
      { minLength: 1, maxLength: 3 },
    );
    fc.assert(
      // Without a tree: of equal keys the last wins, and order is made, so that its bytes need not come back.
      fc.property(states, damage, (state, changes) => {
        const bytes = [...save(everything, { ...state, tree: new Map() }).bytes];
        for (const { at, kind, byte } of changes) {
          const place = at % (bytes.length + 1);
          if (kind === "set") bytes[Math.min(place, bytes.length - 1)] = byte;
          else if (kind === "cut") bytes.splice(place, 1);
          else bytes.splice(place, 0, byte);
        }
        const input = Uint8Array.from(bytes);
        try {
          load(everything, { bytes: input });
        } catch (error) {
          if (!isCprkitError(error)) throw error;
          return;
        }
        if (load(everything, { bytes: input }).tree.size === 0) honest(everything as Description<unknown>, input);
      }),
      { ...parameters, numRuns: 2000 },
    );
  });

  test("a JSON description with characters changed", () => {
    const plain = toVmdesc(scalars, {
      bool: true,
      int8: 1,
      int16: 2,
      int32: 3,
      int64: 4n,
      uint16: 5,
      uint64: 6n,
      timer: null,
      double: 1.5,
      raw: new Uint8Array(5),
    });
    const damage = fc.array(fc.tuple(fc.nat(plain.length - 1), fc.constantFrom(...'{}[]",:0129-\\ax ')), {
      minLength: 1,
      maxLength: 4,
    });
    fc.assert(
      fc.property(damage, fc.uint8Array({ maxLength: 60 }), (changes, bytes) => {
        const text = [...plain];
        for (const [at, char] of changes) text[at] = char;
        try {
          const { description } = fromVmdesc(text.join(""));
          load(description, { bytes });
        } catch (error) {
          if (!isCprkitError(error)) throw error;
        }
      }),
      { ...parameters, numRuns: 3000 },
    );
  });
});
