// The bytes of a migration stream with their fields. Guest RAM is left out.

import type { Migration } from "../../migration/index.ts";
import { streamSpans } from "../../migration/spans.ts";
import { offsetText } from "../../vmstate/shown/values.ts";
import { type BytesAt, hexDump } from "./hex.ts";

/** Every byte of the headers, commands and decoded sections in lines of 16; bodies that are not decoded in one line. */
export function* hexView(migration: Migration, bytesAt: BytesAt): Generator<string> {
  const dump = hexDump(bytesAt, 8);
  for (const { offset, size, text, depth, folded } of streamSpans(migration)) {
    yield folded ? `${offsetText(offset)}  ${text}\n` : dump(offset, size, text, depth);
  }
}
