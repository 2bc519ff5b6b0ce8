// Engine and compiled code side by side: descriptions of every kind, states that fit them, damaged bytes and damaged
// states. Both must come to the same result, or to the same error at the same place.
import { isDeepStrictEqual } from "node:util";
import { type Compiled, compile } from "../../src/vmstate/compile/index.ts";
import {
  array,
  array2d,
  arrayOfMarkedPointers,
  arrayOfPointers,
  bitmap,
  bool,
  buffer,
  capability,
  cpuDouble,
  cstring,
  type Description,
  existsIf,
  type FdForm,
  type Field,
  fd,
  gbytearray,
  ghash,
  ghashDirectKey,
  gtree,
  type Input,
  int8,
  int16,
  int32,
  int32Le,
  int64,
  isCprkitError,
  type LoadOptions,
  load,
  mustExist,
  nullPointer,
  type Output,
  qlist,
  qtailq,
  save,
  since,
  struct,
  timer,
  uint8,
  uint8Equal,
  uint16,
  uint32,
  uint32Equal,
  uint64,
  unusedBuffer,
  validate,
  varray,
  vbuffer,
  vmstate,
  vstruct,
  withTmp,
} from "../../src/vmstate/index.ts";
import { type Random, seeded } from "../support/random.ts";

/** A description with its compiled form, and a state that fits it. */
export interface Subject {
  readonly description: Description<Record<string, unknown>>;
  readonly compiled: Compiled<Record<string, unknown>>;
  readonly state: Record<string, unknown>;
  readonly version?: number;
}

function subject<State>(description: Description<State>, state: State, version?: number): Subject {
  // Values are changed at random: no type of theirs holds.
  const any = description as unknown as Description<Record<string, unknown>>;
  const plain = state as Record<string, unknown>;
  return { description: any, compiled: compile(any), state: plain, ...(version === undefined ? {} : { version }) };
}

/** Somebody's own kind: a byte that must be even. */
const even: Field<number> = {
  type: "even",
  size: 1,
  load: (reader) => {
    const value = reader.uint8();
    if (value % 2 === 1) throw reader.error("ERR_RANGE", `expected an even byte, found ${value}`, 1);
    return value;
  },
  save: (writer, value) => writer.uint8(value),
};

const scalars = vmstate({
  name: "scalars",
  version: 3,
  minimumVersion: 1,
  fields: {
    a: uint8(),
    b: int8(),
    c: bool(),
    d: uint16(),
    e: int16(),
    f: uint32(),
    g: int32(),
    h: uint64(),
    i: int64(),
    j: timer(),
    k: cpuDouble(),
    l: buffer(3),
    m: unusedBuffer(2),
    n: since(2, uint8()),
    o: since(3, uint16(), 7),
  },
});
const scalarState = () => ({
  ...{ a: 200, b: -5, c: true, d: 65_535, e: -300, f: 4_000_000_000, g: -2_000_000_000, h: 2n ** 64n - 1n },
  ...{ i: -(2n ** 63n), j: null, k: -1.5, l: new Uint8Array([1, 2, 3]), m: undefined, n: 9, o: 1000 },
});
const leaf = vmstate({ name: "leaf", version: 2, fields: { x: uint8(), y: int32() } });
const named = vmstate({
  name: "named",
  version: 1,
  fields: { namelen: uint32(), name: cstring("namelen", 40), id: int32(), fd: fd() },
});
const nest = vmstate({ name: "nest", version: 1, fields: { leaf: struct(leaf), more: array(struct(leaf), 2) } });
const hooked = vmstate({
  name: "hooked",
  version: 1,
  fields: { a: uint8(), b: uint8() },
  preLoad: (state) => {
    state.a = 1;
  },
  postLoad: ({ a, b }) => {
    if (a > b) throw new Error(`${a} is more than ${b}`);
  },
  preSave: (state) => {
    if (state.b === 66) throw new Error("66 is not sent");
  },
});
const parent = vmstate({
  name: "parent",
  version: 2,
  fields: { a: uint8(), list: qlist(leaf, { version: 2 }) },
  subsections: { sub: vmstate({ name: "parent/sub", version: 1, fields: { v: uint16(), leaf: struct(leaf) } }) },
});
const gated = vmstate({
  name: "gated",
  version: 4,
  minimumVersion: 2,
  fields: {
    flags: uint8(),
    old: since(3, uint16()),
    maybe: existsIf(["flags"], ({ flags }: { flags: number }) => (flags & 1) !== 0, uint32()),
    low: uint8(),
    high: uint8(),
    order: validate(["low", "high"], ({ low, high }: { low: number; high: number }) => low <= high),
    must: mustExist(existsIf(["flags"], ({ flags }: { flags: number }) => flags < 200, uint8())),
    tail: array(int16(), 3),
  },
});
const mixed = vmstate({
  name: "mixed",
  version: 2,
  fields: {
    n: uint16(),
    equal: uint32Equal(),
    own: even,
    size: uint8(),
    data: vbuffer("size"),
    items: varray("n", struct(leaf), { times: 2 }),
    bits: bitmap(20),
    word: capability({ known: ["xbzrle", "multifd"] }),
    bytes: gbytearray(16),
    nothing: nullPointer(),
    positive: int32Le(),
    hooked: struct(hooked),
    hooks: array(struct(hooked), 2),
    marked: arrayOfMarkedPointers(struct(leaf), 2),
    pointers: arrayOfPointers(uint8(), 2, { present: (index) => index === 0 }),
    tmp: withTmp(leaf, { version: 2 }),
    small: vstruct(scalars, 2),
  },
});
const tables = vmstate({
  name: "tables",
  version: 2,
  fields: {
    list: qtailq(named, { version: 1 }),
    hash: ghash({ version: 2, key: leaf, value: nest2() }),
    direct: ghashDirectKey({ version: 2, value: leaf }),
    tree: gtree({ version: 2, key: leaf, value: leaf, compare: (a, b) => a.x - b.x }),
    fds: array(fd(), 2),
  },
});
const big = vmstate({
  name: "big",
  version: 1,
  fields: {
    grid: array2d(uint16(), 2, 3),
    n: uint64(),
    nests: varray("n", struct(nest)),
    m: int8(),
    texts: varray("m", struct(named)),
    same: uint8Equal(),
    empty: array(unusedBuffer(0), 3),
    flags: array(bool(), 9),
    wide: array(int64(), 2),
  },
});

function nest2() {
  return vmstate({ name: "nest2", version: 2, fields: { leaf: vstruct(leaf, 1), b: bool() } });
}

/** One of every kind, alone and in each other. */
export function subjects(): readonly Subject[] {
  const l = (x: number, y: number) => ({ x, y });
  const text = (name: string, id: number, fd: number) => ({ namelen: Buffer.byteLength(name) + 1, name, id, fd });
  const nested = () => ({ leaf: l(5, -5), more: [l(5, 6), l(7, 8)] });
  return [
    subject(scalars, scalarState()),
    subject(scalars, scalarState(), 2),
    subject(parent, { a: 5, list: [l(5, 1), l(2, -2)], sub: { v: 300, leaf: l(5, 5) } }),
    subject(gated, { flags: 1, old: 2, maybe: 3, low: 4, high: 5, order: undefined, must: 6, tail: [7, -8, 9] }),
    subject(gated, { flags: 2, low: 4, high: 5, order: undefined, must: 6, tail: [7, -8, 9] }, 2),
    subject(mixed, {
      ...{ n: 1, equal: 77, own: 4, size: 3, data: new Uint8Array(3), items: [l(1, 1), l(2, 2)], bits: 0xabcden },
      ...{ word: "multifd", bytes: new Uint8Array(5), nothing: null, positive: 12, hooked: { a: 1, b: 2 } },
      ...{
        hooks: [
          { a: 1, b: 1 },
          { a: 3, b: 4 },
        ],
        marked: [l(5, 5), null],
        pointers: [5, null],
        tmp: l(9, 9),
      },
      small: scalarState(),
    }),
    subject(tables, {
      list: [text("0000:00:02.0/vga.vram", 0, 7), text("vector", -1, 8), text("vector", 5, 9), text("ä€😀", 1, 10)],
      hash: new Map([
        [l(1, 2), { leaf: l(3, 4), b: true }],
        [l(5, 6), { leaf: l(5, 8), b: false }],
      ]),
      direct: new Map([
        [5n, l(1, 1)],
        [2n ** 64n - 1n, l(2, 2)],
      ]),
      tree: new Map([
        [l(1, 0), l(1, 1)],
        [l(2, 0), l(2, 2)],
      ]),
      fds: [11, 12],
    }),
    subject(big, {
      ...{
        grid: [
          [1, 2, 3],
          [4, 5, 6],
        ],
        n: 2n,
        nests: [nested(), nested()],
        m: 2,
      },
      ...{ texts: [text("a", 1, 13), text("a", 2, 14)], same: 3, empty: [undefined, undefined, undefined] },
      ...{ flags: Array.from({ length: 9 }, (_, at) => at % 2 === 0), wide: [1n, -1n] },
    }),
  ];
}

/** Runs `count` cases; returns how many of them were errors. Throws at the first in which the two differ. */
export function compareBoth(all: readonly Subject[], count: number, seed: number): number {
  const random = seeded(seed);
  const forms: readonly FdForm[] = ["passed", "number"];
  const saved = all.map(({ description, state }) => forms.map((fdForm) => save(description, state, { fdForm })));
  let errors = 0;
  for (let at = 0; at < count; at++) {
    const which = random.below(all.length);
    const one = all[which] as Subject;
    const form = random.below(2);
    const fdForm = forms[form] as FdForm;
    const differs =
      random.below(3) === 0
        ? compareSaves(one, damagedState(one.state, random), fdForm)
        : compareLoads(one, damagedInput((saved[which] as Output[])[form] as Output, fdForm, random), random);
    if (differs.why !== undefined) throw new Error(`seed ${seed}, case ${at}, ${one.description.name}: ${differs.why}`);
    if (differs.failed) errors++;
  }
  return errors;
}

interface Difference {
  readonly why?: string;
  readonly failed: boolean;
}

/** Loads by both, into nothing or into what an earlier load left. */
function compareLoads(one: Subject, input: Input, random: Random): Difference {
  const { description, compiled, version } = one;
  const into = random.below(8) === 0;
  const options = (): LoadOptions<Record<string, unknown>> => ({
    version: random.below(20) === 0 ? random.below(6) : version,
    ...(into ? { into: structuredClone(one.state) } : {}),
  });
  const chosen = options();
  const again = { ...chosen, ...(into ? { into: structuredClone(one.state) } : {}) };
  return compare(
    () => load(description, input, chosen),
    () => compiled.load(input, again),
  );
}

function compareSaves({ description, compiled }: Subject, state: Record<string, unknown>, fdForm: FdForm): Difference {
  const show = ({ bytes, fds }: Output) => ({ bytes: Buffer.from(bytes).toString("hex"), fds });
  return compare(
    () => show(save(description, state, { fdForm })),
    () => show(compiled.save(state, { fdForm })),
  );
}

function compare(first: () => unknown, second: () => unknown): Difference {
  const [engine, made] = [outcome(first), outcome(second)];
  if (isDeepStrictEqual(engine, made)) return { failed: "error" in engine };
  const text = (value: unknown) =>
    JSON.stringify(value, (_key, part) => (typeof part === "bigint" ? `${part}n` : part))?.slice(0, 400);
  return { why: `engine ${text(engine)}, compiled ${text(made)}`, failed: true };
}

function outcome(work: () => unknown): { readonly value: unknown } | { readonly error: unknown } {
  try {
    return { value: work() };
  } catch (error) {
    if (isCprkitError(error))
      return { error: { code: error.code, path: error.path, offset: error.offset, message: error.message } };
    // What is no state at all: V8's own words.
    return { error: String(error) };
  }
}

function damagedInput(output: Output, fdForm: FdForm, random: Random): Input {
  let bytes = Uint8Array.from(output.bytes);
  const fds = output.fds.map((passed) => ({ ...passed }));
  for (let times = random.below(4); times > 0; times--) {
    const at = random.below(bytes.length);
    const kind = random.below(8);
    if (kind === 0) bytes = bytes.slice(0, at);
    else if (kind === 1) bytes = Uint8Array.from([...bytes.subarray(0, at), random.below(256), ...bytes.subarray(at)]);
    else if (kind === 2) bytes = Uint8Array.from([...bytes.subarray(0, at), ...bytes.subarray(at + 1)]);
    else if (kind === 3 && fds.length > 0) fds.splice(random.below(fds.length), 1);
    else if (kind === 4 && fds.length > 0) fds[random.below(fds.length)] = { offset: random.below(200), fd: 5 };
    else bytes[at] = random.pick([0, 1, 2, 5, 0x20, 0x30, 0x7f, 0x80, 0xff, random.below(256)]);
    if (bytes.length === 0) break;
  }
  const baseOffset = random.below(2) * 1000;
  return { bytes, fdForm, baseOffset, ...(random.below(10) === 0 ? {} : { fds }) };
}

/** A copy with up to three values replaced by what may not fit. */
function damagedState(state: Record<string, unknown>, random: Random): Record<string, unknown> {
  const copy = structuredClone(state);
  for (let times = random.below(4); times > 0; times--) {
    let inside: Record<string, unknown> | unknown[] = copy;
    for (;;) {
      const key: string | undefined = Object.keys(inside).at(random.below(Object.keys(inside).length));
      if (key === undefined) break;
      const value: unknown = (inside as Record<string, unknown>)[key];
      const isInner = typeof value === "object" && value !== null && !ArrayBuffer.isView(value);
      if (isInner && !(value instanceof Map) && random.below(4) > 0) {
        inside = value as Record<string, unknown>;
        continue;
      }
      if (value instanceof Map && value.size > 0 && random.below(2) === 0) {
        inside = random.pick([...value.values(), ...value.keys()].filter((part) => typeof part === "object"));
        continue;
      }
      (inside as Record<string, unknown>)[key] = oddValue(random);
      break;
    }
  }
  return copy;
}

function oddValue(random: Random): unknown {
  return random.pick([
    ...[0, -0, 1, -1, 5, 255, 256, 65_536, 2 ** 31, 2 ** 32, -(2 ** 31) - 1, 0.5, Number.NaN, Number.POSITIVE_INFINITY],
    ...[0n, 5n, -1n, 2n ** 64n, 2n ** 63n, true, false, null, undefined, "", "5", "a\0b", "\ud800", "\udcff", [], {}],
    ...[new Map(), new Uint8Array(3), [1, 2, 3], { length: 3 }, random.below(100)],
  ]);
}
