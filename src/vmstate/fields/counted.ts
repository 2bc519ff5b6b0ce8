// Values that bring their own length.

import { type Field, misfit } from "../types.ts";
import { textLength } from "../wire/text.ts";

/** Options of {@link capability}. */
export interface CapabilityOptions {
  /** The names that are known here; another is ERR_RANGE, as in QEMU. Default: any. */
  readonly known?: readonly string[];
}

/** The name of a migration capability, its length before it in one byte (vmstate_info_capability). */
export function capability({ known }: CapabilityOptions = {}): Field<string> {
  return {
    type: "capability",
    minimum: 1,
    load: (reader) => {
      const start = reader.offset;
      const name = reader.countedText();
      if (known !== undefined && !known.includes(name)) {
        throw reader.error("ERR_RANGE", `the capability "${name}" is not known here`, reader.offset - start);
      }
      return name;
    },
    save: (writer, value) => {
      if (typeof value !== "string" || textLength(value) > 255) throw misfit("a text of up to 255 bytes", value);
      if (known !== undefined && !known.includes(value)) throw misfit(`one of ${known.join(", ")}`, value);
      writer.countedText(value);
    },
  };
}

/** Bytes with their length before them in 32 bits (VMSTATE_GBYTEARRAY, QEMU 11). */
export function gbytearray(maxLength = 0x7fff_ffff): Field<Uint8Array> {
  return {
    type: "GByteArray",
    minimum: 4,
    load: (reader) => {
      const length = reader.uint32();
      if (length > maxLength)
        throw reader.error("ERR_LIMIT", `expected a length up to ${maxLength}, found ${length}`, 4);
      return reader.buffer(length);
    },
    save: (writer, value) => {
      if (!(value instanceof Uint8Array) || value.length > maxLength)
        throw misfit(`a Uint8Array of at most ${maxLength} bytes`, value);
      writer.uint32(value.length);
      writer.buffer(value);
    },
  };
}
