// Values and sizes as a person reads them.

import { hex } from "../wire/reader.ts";
import { grouped, printable } from "./text.ts";

const maxBytes = 32;
const maxElements = 16;

/** A decoded value in one line; long ones are cut, with their length. */
export function valueText(value: unknown): string {
  if (value === undefined) return "?";
  if (value === null) return "null";
  if (typeof value === "string") return `"${printable(value)}"`;
  if (value instanceof Uint8Array) return bytesText(value);
  if (Array.isArray(value)) {
    if (value.length === 0) return "empty";
    const shown = value.slice(0, maxElements).map(valueText).join(", ");
    return value.length > maxElements ? `[${shown}, … ${value.length} in all]` : `[${shown}]`;
  }
  if ((typeof value === "number" || typeof value === "bigint") && value >= 10)
    return `${value} (0x${value.toString(16)})`;
  return typeof value === "object" ? "{}" : String(value);
}

function bytesText(bytes: Uint8Array): string {
  const shown = Array.from(bytes.subarray(0, maxBytes), hex).join("");
  if (bytes.length > maxBytes) return `${shown}… ${grouped(bytes.length)} bytes`;
  return bytes.length === 0 ? "no bytes" : shown;
}

export function offsetText(offset: number): string {
  return `0x${offset.toString(16)}`;
}

/** "1.5 GiB", "512 bytes". */
export function sizeText(bytes: number): string {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}
