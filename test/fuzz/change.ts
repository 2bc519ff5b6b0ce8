// Inputs made of others: one to four changes of bytes, of pieces, or of what stands around a piece.

import type { Random } from "../support/random.ts";

/** One of `inputs`, changed. */
export function changed(inputs: readonly Uint8Array[], random: Random): Uint8Array {
  let bytes = random.pick(inputs);
  for (let more = 1 + random.below(4); more > 0; more--) bytes = random.pick(kinds)(bytes, random, inputs);
  return bytes;
}

type Change = (bytes: Uint8Array, random: Random, inputs: readonly Uint8Array[]) => Uint8Array;

const marks = [0x00, 0x01, 0x04, 0x05, 0x06, 0x20, 0x22, 0x2c, 0x7b, 0x7d, 0x7e, 0x7f, 0x80, 0xff];

const kinds: readonly Change[] = [
  (bytes, random) => withByte(bytes, random.below(bytes.length), random.below(256)),
  (bytes, random) => withByte(bytes, random.below(bytes.length), random.pick(marks)),
  // Digits stay digits: JSON goes on being JSON.
  (bytes, random) => {
    const digits = [...bytes.keys()].filter((at) => (bytes[at] ?? 0) >= 0x30 && (bytes[at] ?? 0) <= 0x39);
    return digits.length === 0 ? bytes : withByte(bytes, random.pick(digits), 0x30 + random.below(10));
  },
  (bytes, random) => {
    const [from, to] = piece(bytes, random);
    return joined(bytes.subarray(0, from), bytes.subarray(to));
  },
  (bytes, random) => {
    const [from, to] = piece(bytes, random);
    const at = random.below(bytes.length + 1);
    return joined(bytes.subarray(0, at), bytes.subarray(from, to), bytes.subarray(at));
  },
  (bytes, random, inputs) => {
    const other = random.pick(inputs);
    const [from, to] = piece(other, random);
    const at = random.below(bytes.length + 1);
    return joined(
      bytes.subarray(0, at),
      other.subarray(from, to),
      bytes.subarray(Math.min(bytes.length, at + to - from)),
    );
  },
];

function piece(bytes: Uint8Array, random: Random): readonly [number, number] {
  const from = random.below(bytes.length + 1);
  return [from, Math.min(bytes.length, from + 1 + random.below(32))];
}

function withByte(bytes: Uint8Array, at: number, value: number): Uint8Array {
  const copy = bytes.slice();
  if (at < copy.length) copy[at] = value;
  return copy;
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(Buffer.concat(parts));
}
