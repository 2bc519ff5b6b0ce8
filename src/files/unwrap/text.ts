// A few bytes as text.

import { hex } from "../../vmstate/wire/reader.ts";

/** Two digits for each byte. */
export function hexText(bytes: Uint8Array): string {
  return Array.from(bytes, hex).join("");
}

/** A character for each byte. */
export function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}
