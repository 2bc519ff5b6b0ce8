// What the codecs are compared by: 5,000 records of 12 numbers and booleans, the same in every format, and the ways to
// load and save them that are no package of their own.

import { compile } from "cprkit/compile";
import { bool, int32, load, save, struct, uint8, uint16, uint32, varray, vmstate } from "cprkit/vmstate";

const record = vmstate({
  name: "record",
  version: 1,
  fields: {
    ...{ a: uint8(), b: uint16(), c: uint32(), d: int32(), e: bool(), f: uint32() },
    ...{ g: uint8(), h: uint16(), i: int32(), j: uint32(), k: bool(), l: uint32() },
  },
});
const all = vmstate({ name: "all", version: 1, fields: { count: uint32(), records: varray("count", struct(record)) } });

/** The names, in the order of the wire. */
export const recordFields = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"] as const;

export interface Record12 {
  a: number;
  b: number;
  c: number;
  d: number;
  e: boolean;
  f: number;
  g: number;
  h: number;
  i: number;
  j: number;
  k: boolean;
  l: number;
}

export interface Records {
  readonly count: number;
  readonly records: Record12[];
}

/** A codec: bytes of all records, and all records of bytes. */
export interface RecordCodec {
  readonly save: (records: Records) => Uint8Array;
  readonly load: (bytes: Uint8Array) => { readonly records: readonly Partial<Record12>[] };
}

/** The first `count` records, always the same. */
export function makeRecords(count: number): Records {
  let seed = 1;
  const below = (limit: number) => {
    seed = (seed * 48271) % 0x7fffffff;
    return seed % limit;
  };
  // One literal, in the order of the fields: an object that is put together from several is a hash table to V8.
  const records = Array.from({ length: count }, () => ({
    a: below(256),
    b: below(65_536),
    c: below(2 ** 31),
    d: below(2 ** 31) - 2 ** 30,
    e: below(2) === 1,
    f: below(2 ** 31),
    g: below(256),
    h: below(65_536),
    i: -below(2 ** 30),
    j: below(2 ** 31),
    k: below(2) === 1,
    l: below(100),
  }));
  return { count, records };
}

/** Sum over all values, each times the place of its field. */
export function sumOf(records: readonly Partial<Record12>[]): number {
  let sum = 0;
  for (const one of records)
    for (const [at, name] of recordFields.entries()) sum = (sum + Math.imul(Number(one[name] ?? 0), at + 1)) | 0;
  return sum >>> 0;
}

/** By the engine of closures. */
export function engineCodec(): RecordCodec {
  return { save: (state) => save(all, state).bytes, load: (bytes) => load(all, { bytes }) };
}

/** By code made of the description. */
export function compiledCodec(): RecordCodec {
  const codec = compile(all);
  return { save: (state) => codec.save(state).bytes, load: (bytes) => codec.load({ bytes }) };
}

/** As one writes it by hand for this one format: nothing is checked. */
export function handWritten(): RecordCodec {
  const size = 32;
  return {
    save: ({ count, records }) => {
      const bytes = new Uint8Array(4 + count * size);
      const view = new DataView(bytes.buffer);
      view.setUint32(0, count);
      let at = 4;
      for (const one of records) {
        view.setUint8(at, one.a);
        view.setUint16(at + 1, one.b);
        view.setUint32(at + 3, one.c);
        view.setInt32(at + 7, one.d);
        view.setUint8(at + 11, one.e ? 1 : 0);
        view.setUint32(at + 12, one.f);
        view.setUint8(at + 16, one.g);
        view.setUint16(at + 17, one.h);
        view.setInt32(at + 19, one.i);
        view.setUint32(at + 23, one.j);
        view.setUint8(at + 27, one.k ? 1 : 0);
        view.setUint32(at + 28, one.l);
        at += size;
      }
      return bytes;
    },
    load: (bytes) => {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      const count = view.getUint32(0);
      const records: Record12[] = [];
      let at = 4;
      for (let index = 0; index < count; index++) {
        records.push({
          a: view.getUint8(at),
          b: view.getUint16(at + 1),
          c: view.getUint32(at + 3),
          d: view.getInt32(at + 7),
          e: view.getUint8(at + 11) === 1,
          f: view.getUint32(at + 12),
          g: view.getUint8(at + 16),
          h: view.getUint16(at + 17),
          i: view.getInt32(at + 19),
          j: view.getUint32(at + 23),
          k: view.getUint8(at + 27) === 1,
          l: view.getUint32(at + 28),
        });
        at += size;
      }
      return { records };
    },
  };
}
