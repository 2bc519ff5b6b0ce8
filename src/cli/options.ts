// Options that several commands share.

import { InvalidArgumentError, Option } from "commander";
import type { QemuVersion } from "../cpr/index.ts";
import { type UpdateModeName, updateModes } from "../qemu/vm/binary.ts";

/** Parses a QEMU version such as "10.0" or "11.1.3". Throws InvalidArgumentError. */
export function qemuVersion(text: string): QemuVersion {
  const match = /^(\d{1,4})\.(\d{1,4})(?:\.\d{1,4})?$/.exec(text);
  if (match === null) throw new InvalidArgumentError('expected a version of QEMU, such as "10.0".');
  if (Number(match[1]) < 10) throw new InvalidArgumentError("QEMU 10.0 is the first with cpr-transfer.");
  return `${Number(match[1])}.${Number(match[2])}`;
}

/** --mode of an update; "normal" is QEMU's own word for a copy. */
export function modeOption(description: string): Option {
  const words = [...updateModes, "normal"];
  const parse = (text: string): UpdateModeName => {
    const mode = updateModes.find((each) => each === (text === "normal" ? "copy" : text));
    if (mode === undefined) throw new InvalidArgumentError(`expected one of ${words.join(", ")}.`);
    return mode;
  };
  return new Option("--mode <mode>", `${description} (${words.join(", ")})`).argParser(parse);
}

/** Parses a whole number from `min` to `max`. Throws InvalidArgumentError. */
export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max))
      throw new InvalidArgumentError(`expected a whole number from ${min} to ${max}.`);
    return value;
  };
}

/** Parses a page size in bytes: a power of two. Throws InvalidArgumentError. */
export function pageSize(text: string): number {
  const value = byteOffset(text);
  if (value < 256 || value > 2 ** 30 || (value & (value - 1)) !== 0)
    throw new InvalidArgumentError("expected a power of two from 256 on, such as 8192.");
  return value;
}

/** Parses an offset in bytes, decimal or with 0x in front. Throws InvalidArgumentError. */
export function byteOffset(text: string): number {
  const value = /^(0x[\da-f]+|\d+)$/i.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value))
    throw new InvalidArgumentError("expected a number of bytes, such as 4096 or 0x1000.");
  return value;
}
