// Bytes with their meaning: each field with its offset, its bytes and its value.

import { counted } from "./text.ts";
import { valueText } from "./values.ts";

/** Bytes from an offset on. */
export type BytesAt = (offset: number, length: number) => Uint8Array;

/** Lines for the bytes from `offset` on, `text` at the end of the first; one line if there are none. */
export type Dump = (offset: number, length: number, text: string, depth?: number) => string;

export interface HexField {
  readonly offset: number;
  readonly size: number;
  /** 0 for the outermost. */
  readonly depth: number;
  readonly label: string;
  readonly type: string;
  readonly value: unknown;
  /** Other fields inside it follow: they have its bytes. */
  readonly hasParts: boolean;
}

const perLine = 16;

/** A dump in lines of 16 bytes, each with its offset in at least `offsetDigits` digits. */
export function hexDump(bytesAt: BytesAt, offsetDigits: number): Dump {
  const line = (offset: number, bytes: Uint8Array, text: string): string => {
    const digits = Buffer.from(bytes)
      .toString("hex")
      .replace(/..(?=.)/g, "$& ");
    return `${`${offset.toString(16).padStart(offsetDigits, "0")}  ${digits.padEnd(perLine * 3)} ${text}`.trimEnd()}\n`;
  };
  return (offset, length, text, depth = 0) => {
    const bytes = bytesAt(offset, length);
    let lines = line(offset, bytes.subarray(0, perLine), "  ".repeat(depth) + text);
    for (let at = perLine; at < bytes.length; at += perLine) {
      lines += line(offset + at, bytes.subarray(at, at + perLine), "");
    }
    return lines;
  };
}

/**
 * Every byte from `start` to `end` once, with the field that has it. Fields come in order, outer ones first. `rest` names
 * what follows the last.
 */
export function* hexFields(
  dump: Dump,
  { start, end, rest }: { readonly start: number; readonly end: number; readonly rest: string },
  fields: Iterable<HexField>,
): Generator<string, void, void> {
  let at = start;
  for (const { offset, size, depth, label, type, value, hasParts } of fields) {
    if (offset > at) yield dump(at, offset - at, "(mark)", depth);
    if (hasParts) yield dump(offset, 0, `${label} (${type})`, depth);
    else yield dump(offset, size, `${label}: ${fieldText(value)} (${type})`, depth);
    at = hasParts ? offset : offset + size;
  }
  if (at < end) yield dump(at, end - at, rest);
}

/** A buffer's own bytes are on the line already. */
function fieldText(value: unknown): string {
  return value instanceof Uint8Array ? counted(value.length, "byte") : valueText(value);
}
