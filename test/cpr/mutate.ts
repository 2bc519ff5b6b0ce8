// Breaks a CPR stream in the ways that streams break, and measures what reading one takes.

import { getHeapStatistics } from "node:v8";
import type { Random } from "../support/random.ts";

/** A stream to be broken. */
export interface Original {
  readonly bytes: Uint8Array;
  /** Offsets where an entry begins: pieces cut there keep the rest readable, and reach deeper. */
  readonly boundaries: readonly number[];
  /** Offset of the count of entries, in a hash table. */
  readonly countAt: number | undefined;
}

const marks = [0x00, 0x01, 0x02, 0x05, 0x15, 0x20, 0x7f, 0x80, 0xff];
const lengths = [0, 1, 2, 5, 255, 256, 4095, 4096, 4097, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff];

/** One to four faults: flipped bits, set bytes, inserted, deleted, swapped and repeated pieces, lengths, a cut end. */
export function mutate(original: Original, random: Random): Uint8Array {
  let bytes = original.bytes;
  for (let faults = 1 + random.below(4); faults > 0; faults--) bytes = random.pick(kinds)(bytes, original, random);
  return bytes;
}

type Fault = (bytes: Uint8Array, original: Original, random: Random) => Uint8Array;

const kinds: readonly Fault[] = [
  (bytes, _original, random) => changed(bytes, random.below(bytes.length), (byte) => byte ^ (1 << random.below(8))),
  (bytes, _original, random) => changed(bytes, random.below(bytes.length), () => random.below(256)),
  (bytes, _original, random) => changed(bytes, random.below(bytes.length), () => random.pick(marks)),
  (bytes, original, random) => withLength(bytes, place(bytes, original, random) + 1, random.pick(lengths)),
  (bytes, _original, random) => withLength(bytes, random.below(bytes.length), random.pick(lengths)),
  (bytes, _original, random) => {
    const at = random.below(bytes.length + 1);
    const more = Uint8Array.from({ length: 1 + random.below(8) }, () => random.below(256));
    return joined(bytes.subarray(0, at), more, bytes.subarray(at));
  },
  (bytes, original, random) => {
    const [from, to] = piece(bytes, original, random);
    return joined(bytes.subarray(0, from), bytes.subarray(to));
  },
  (bytes, original, random) => {
    const [from, to] = piece(bytes, original, random);
    const at = place(bytes, original, random);
    return joined(bytes.subarray(0, at), bytes.subarray(from, to), bytes.subarray(at));
  },
  (bytes, original, random) => {
    const [from, middle] = piece(bytes, original, random);
    const to = Math.max(middle, place(bytes, original, random));
    return joined(
      bytes.subarray(0, from),
      bytes.subarray(middle, to),
      bytes.subarray(from, middle),
      bytes.subarray(to),
    );
  },
  (bytes, _original, random) => bytes.subarray(0, random.below(bytes.length + 1)),
  // An entry that stands twice, and is counted twice.
  (bytes, { boundaries, countAt }, random) => {
    const at = random.below(boundaries.length - 1);
    const from = boundaries[at] as number;
    const entry = bytes.subarray(from, boundaries[at + 1]);
    const to = Math.min(random.pick(boundaries), bytes.length);
    const more = joined(bytes.subarray(0, to), entry, bytes.subarray(to));
    return countAt === undefined ? more : withLength(more, countAt, boundaries.length + 1);
  },
];

/** An offset: the beginning of an entry, or any. */
function place(bytes: Uint8Array, { boundaries }: Original, random: Random): number {
  const at = random.below(2) === 0 ? random.pick(boundaries) : random.below(bytes.length + 1);
  return Math.min(at, bytes.length);
}

function piece(bytes: Uint8Array, original: Original, random: Random): readonly [number, number] {
  const [a, b] = [place(bytes, original, random), place(bytes, original, random)];
  return a < b ? [a, b] : [b, a];
}

function changed(bytes: Uint8Array, at: number, change: (byte: number) => number): Uint8Array {
  const copy = bytes.slice();
  if (at < copy.length) copy[at] = change(copy[at] as number);
  return copy;
}

function withLength(bytes: Uint8Array, at: number, length: number): Uint8Array {
  const copy = bytes.slice();
  if (at + 4 <= copy.length) new DataView(copy.buffer).setUint32(at, length);
  return copy;
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Bytes by which the heap and the buffers outside of it grew while `work` ran: an allocation, however short-lived. */
export function grown(work: () => void): number {
  const before = allocated();
  work();
  return allocated() - before;
}

function allocated(): number {
  const { used_heap_size, external_memory } = getHeapStatistics();
  return used_heap_size + external_memory;
}
