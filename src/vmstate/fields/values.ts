// Scalars with a meaning of their own: a timer, a double, a bitmap.

import { CprkitError } from "../error.ts";
import type { Siblings } from "../facts.ts";
import { withRecipe } from "../recipes.ts";
import { type Field, misfit, siblingCount } from "../types.ts";
import type { Reader } from "../wire/reader.ts";
import { checkNumber } from "./arrays.ts";

const allOnes = 2n ** 64n - 1n;

/** When a timer fires, in ns of its clock, or null when it is not armed (VMSTATE_TIMER; all ones on the wire). */
export function timer(): Field<bigint | null> {
  return withRecipe(
    { kind: "scalar", of: "timer" },
    {
      type: "timer",
      size: 8,
      load: (reader) => {
        const expiry = reader.uint64();
        return expiry === allOnes ? null : expiry;
      },
      save: (writer, value) => {
        if (value !== null && (typeof value !== "bigint" || value < 0n || value >= allOnes))
          throw misfit("a bigint from 0 to 2^64-2, or null", value);
        writer.uint64(value ?? allOnes);
      },
    },
  );
}

const canonicalNan = 0x7ff8_0000_0000_0000n;

/**
 * A double (vmstate_info_cpudouble, VMSTATE_CPUDOUBLE_ARRAY): its IEEE 754 bits, upper half first. A NaN other than the usual one comes as
 * these bits, a bigint, because JavaScript may change the bits of a NaN.
 */
export function cpuDouble(): Field<number | bigint> {
  return withRecipe(
    { kind: "scalar", of: "double" },
    {
      type: "CPU_Double_U",
      size: 8,
      load: (reader) => {
        const value = reader.float64();
        if (!Number.isNaN(value)) return value;
        reader.pos -= 8;
        const bits = reader.uint64();
        return bits === canonicalNan ? value : bits;
      },
      save: (writer, value) => {
        if (typeof value === "bigint") {
          if (BigInt.asUintN(64, value) !== value) throw misfit("64 bits", value);
          writer.uint64(value);
        } else if (typeof value !== "number") throw misfit("a number", value);
        else if (Number.isNaN(value)) writer.uint64(canonicalNan);
        else writer.float64(value);
      },
    },
  );
}

/** 32 MiB: JavaScript's bigint ends at 2^30 bits. */
const maxBitmapBits = 2 ** 28;

/**
 * A bitmap of as many bits as `bits` says, or the field of this name, which must come before it (VMSTATE_BITMAP). Bit n
 * of the value is bit n of the map. On the wire: words of 64 bits, the lowest first. Bits above the size in the last
 * word are kept, as QEMU sends what is in memory. Throws ERR_LIMIT above 2^28 bits.
 */
export function bitmap(bits: number | string): Field<bigint> {
  if (typeof bits === "number") checkNumber("a bitmap's size", bits, maxBitmapBits);
  const wordsIn = (siblings: Siblings, reader?: Reader) => {
    const size = typeof bits === "number" ? bits : siblingCount(siblings, bits, reader);
    if (size <= maxBitmapBits) return Math.ceil(size / 64);
    const reason = `expected at most ${maxBitmapBits} bits, found ${size}`;
    throw reader === undefined ? new CprkitError("ERR_VALUE", reason) : reader.error("ERR_LIMIT", reason);
  };
  return {
    type: "bitmap",
    size: typeof bits === "number" ? Math.ceil(bits / 64) * 8 : undefined,
    needs: typeof bits === "number" ? [] : [bits],
    load: (reader, _current, siblings) => {
      const words = wordsIn(siblings, reader);
      if (words * 8 > reader.remaining) throw reader.eof(words * 8);
      let digits = "";
      for (let i = 0; i < words; i++) digits = reader.uint64().toString(16).padStart(16, "0") + digits;
      return BigInt(`0x0${digits}`);
    },
    save: (writer, value, siblings) => {
      const words = wordsIn(siblings);
      if (typeof value !== "bigint" || value < 0n) throw misfit("a bigint from 0 up", value);
      const digits = value.toString(16).padStart(words * 16, "0");
      if (value > 0n && digits.length > words * 16) throw misfit(`at most ${words * 64} bits`, value);
      for (let i = words; i > 0; i--) writer.uint64(BigInt(`0x${digits.slice((i - 1) * 16, i * 16)}`));
    },
  };
}
