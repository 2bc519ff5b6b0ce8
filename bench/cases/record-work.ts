// The cases of codecs: records, records in records, a hash table, by cprkit and by others.

import { compile } from "cprkit/compile";
import { ghash, int32, load, save, struct, uint8, uint16, uint32, varray, vmstate } from "cprkit/vmstate";
import { timed, type Work } from "./measured.ts";
import { compiledCodec, engineCodec, handWritten, makeRecords, type RecordCodec, sumOf } from "./records.ts";

type Way = "compiled" | "engine" | "hand" | "msgpackr" | "avsc" | "protobufjs" | "protobuf-es";
type What = "load" | "save";

/** `n` records of 12 values. */
export async function recordWork(n: number, way: Way, what: What): Promise<Work> {
  const codec = await recordCodec(way);
  const state = makeRecords(n);
  const bytes = codec.save(state);
  let saved = bytes;
  let loaded = codec.load(bytes);
  const passes = Math.max(1, Math.floor(20_000 / n));
  const work = () => {
    for (let pass = 0; pass < passes; pass++) {
      if (what === "save") saved = codec.save(state);
      else loaded = codec.load(bytes);
    }
    return 0;
  };
  return {
    ops: n * 12 * passes,
    bytes: bytes.length,
    round: () => {
      const { ns } = timed(work);
      return { ns, check: sumOf(what === "save" ? codec.load(saved).records : loaded.records) };
    },
  };
}

async function recordCodec(way: Way): Promise<RecordCodec> {
  if (way === "compiled") return compiledCodec();
  if (way === "engine") return engineCodec();
  if (way === "hand") return handWritten();
  const others = await import("./other-codecs.ts");
  if (way === "msgpackr") return others.msgpackrCodec();
  if (way === "avsc") return others.avscCodec();
  return way === "protobufjs" ? others.protobufjsCodec() : others.protobufEsCodec();
}

const inner = vmstate({ name: "inner", version: 1, fields: { x: uint8(), y: int32(), z: uint16() } });
const outer = vmstate({
  name: "outer",
  version: 1,
  fields: { id: uint32(), first: struct(inner), second: struct(inner) },
});
const nested = vmstate({ name: "nested", version: 1, fields: { n: uint32(), all: varray("n", struct(outer)) } });

/** `n` records of a number and two records of three numbers. */
export function nestedWork(n: number, way: "compiled" | "engine" | "hand", what: What): Work {
  const part = (at: number) => ({ x: at & 0xff, y: -at, z: at & 0xffff });
  const state = { n, all: Array.from({ length: n }, (_, at) => ({ id: at, first: part(at), second: part(at * 3) })) };
  const codec = way === "compiled" ? compile(nested) : undefined;
  type State = typeof state;
  const saveOne: (state: State) => Uint8Array =
    way === "hand" ? saveNested : (one) => (codec === undefined ? save(nested, one) : codec.save(one)).bytes;
  const loadOne: (bytes: Uint8Array) => State =
    way === "hand" ? loadNested : (bytes) => (codec === undefined ? load(nested, { bytes }) : codec.load({ bytes }));
  return work(n * 7, state, saveOne, loadOne, what, ({ all }) => {
    let sum = 0;
    for (const { id, first, second } of all)
      sum = (sum + id + Math.imul(first.x + first.y + first.z, 3) + Math.imul(second.x + second.y + second.z, 5)) | 0;
    return sum;
  });

  function saveNested({ all }: State): Uint8Array {
    const bytes = new Uint8Array(4 + all.length * 18);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, all.length);
    let at = 4;
    for (const { id, first, second } of all) {
      view.setUint32(at, id);
      view.setUint8(at + 4, first.x);
      view.setInt32(at + 5, first.y);
      view.setUint16(at + 9, first.z);
      view.setUint8(at + 11, second.x);
      view.setInt32(at + 12, second.y);
      view.setUint16(at + 16, second.z);
      at += 18;
    }
    return bytes;
  }

  function loadNested(bytes: Uint8Array): State {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const count = view.getUint32(0);
    const all: State["all"] = [];
    for (let index = 0, at = 4; index < count; index++, at += 18) {
      const first = { x: view.getUint8(at + 4), y: view.getInt32(at + 5), z: view.getUint16(at + 9) };
      const second = { x: view.getUint8(at + 11), y: view.getInt32(at + 12), z: view.getUint16(at + 16) };
      all.push({ id: view.getUint32(at), first, second });
    }
    return { n: count, all };
  }
}

const key = vmstate({ name: "key", version: 1, fields: { id: uint32(), kind: uint16() } });
const value = vmstate({ name: "value", version: 1, fields: { x: int32(), y: uint32() } });
const table = vmstate({ name: "table", version: 1, fields: { entries: ghash({ version: 1, key, value }) } });

/** A hash table of `n` entries. */
export function ghashWork(n: number, way: "compiled" | "engine" | "hand", what: What): Work {
  type State = { entries: Map<{ id: number; kind: number }, { x: number; y: number }> };
  const state: State = { entries: new Map() };
  for (let at = 0; at < n; at++) state.entries.set({ id: at, kind: at & 0xfff }, { x: -at, y: at * 3 });
  const codec = way === "compiled" ? compile(table) : undefined;
  const saveOne: (state: State) => Uint8Array =
    way === "hand" ? saveTable : (one) => (codec === undefined ? save(table, one) : codec.save(one)).bytes;
  const loadOne: (bytes: Uint8Array) => State =
    way === "hand" ? loadTable : (bytes) => (codec === undefined ? load(table, { bytes }) : codec.load({ bytes }));
  return work(n, state, saveOne, loadOne, what, ({ entries }) => {
    let sum = 0;
    for (const [{ id, kind }, { x, y }] of entries) sum = (sum + id + Math.imul(kind, 3) + Math.imul(x, 5) + y) | 0;
    return sum;
  });

  function saveTable({ entries }: State): Uint8Array {
    const bytes = new Uint8Array(5 + entries.size * 15);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, entries.size);
    let at = 4;
    for (const [{ id, kind }, { x, y }] of entries) {
      bytes[at] = 1;
      view.setUint32(at + 1, id);
      view.setUint16(at + 5, kind);
      view.setInt32(at + 7, x);
      view.setUint32(at + 11, y);
      at += 15;
    }
    return bytes;
  }

  function loadTable(bytes: Uint8Array): State {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const entries: State["entries"] = new Map();
    for (let at = 4; bytes[at] === 1; at += 15)
      entries.set(
        { id: view.getUint32(at + 1), kind: view.getUint16(at + 5) },
        { x: view.getInt32(at + 7), y: view.getUint32(at + 11) },
      );
    return { entries };
  }
}

function work<State>(
  ops: number,
  state: State,
  saveOne: (state: State) => Uint8Array,
  loadOne: (bytes: Uint8Array) => State,
  what: What,
  sum: (state: State) => number,
): Work {
  const bytes = saveOne(state);
  const passes = Math.max(1, Math.floor(100_000 / ops));
  let saved = bytes;
  let loaded = state;
  const pass = () => {
    for (let at = 0; at < passes; at++) {
      if (what === "save") saved = saveOne(state);
      else loaded = loadOne(bytes);
    }
    return 0;
  };
  return {
    ops: ops * passes,
    bytes: bytes.length,
    round: () => {
      const { ns } = timed(pass);
      return { ns, check: sum(what === "save" ? loadOne(saved) : loaded) >>> 0 };
    },
  };
}
