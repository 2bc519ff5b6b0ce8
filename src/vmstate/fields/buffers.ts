// Raw bytes, of a fixed length or of a length that another field holds, and text in such a buffer.

import { CprkitError } from "../error.ts";
import { withRecipe } from "../recipes.ts";
import { type Field, misfit, siblingCount } from "../types.ts";
import { checkNumber } from "./arrays.ts";

/** `size` raw bytes (VMSTATE_BUFFER). */
export function buffer(size: number): Field<Uint8Array> {
  return opaque("buffer", size);
}

/** `size` bytes that only the device itself can read ("pci config", "virtio"): its `type` in the JSON description. */
export function opaque(type: string, size: number): Field<Uint8Array> {
  checkNumber("a buffer's size", size);
  return withRecipe(
    { kind: "bytes", size },
    {
      type,
      size,
      load: (reader) => reader.buffer(size),
      save: (writer, value) => {
        if (!(value instanceof Uint8Array) || value.length !== size)
          throw misfit(`a Uint8Array of ${size} bytes`, value);
        writer.buffer(value);
      },
    },
  );
}

/** Options of {@link vbuffer}. */
export interface VbufferOptions {
  /** The length on the wire is multiplied by this (VMS_MULTIPLY, VMSTATE_VBUFFER_MULTIPLY). Default 1. */
  readonly times?: number;
}

/** As many raw bytes as the field `lengthField`, which must come before it, says (VMSTATE_VBUFFER_UINT32). */
export function vbuffer(lengthField: string, { times = 1 }: VbufferOptions = {}): Field<Uint8Array> {
  return {
    type: "buffer",
    needs: [lengthField],
    load: (reader, _current, siblings) => reader.buffer(siblingCount(siblings, lengthField, reader) * times),
    save: (writer, value, siblings) => {
      const length = siblingCount(siblings, lengthField) * times;
      if (!(value instanceof Uint8Array) || value.length !== length) {
        throw misfit(`a Uint8Array of ${length} bytes, as "${lengthField}" says`, value);
      }
      writer.buffer(value);
    },
  };
}

/**
 * The bytes from `start` to before `end` of a buffer of `size` bytes (VMSTATE_PARTIAL_BUFFER,
 * VMSTATE_BUFFER_START_MIDDLE). Loading copies the target's other bytes, or leaves them zero without a target.
 */
export function partialBuffer(size: number, start: number, end: number): Field<Uint8Array> {
  if (
    !(Number.isInteger(size) && Number.isInteger(start) && Number.isInteger(end)) ||
    start < 0 ||
    end < start ||
    end > size
  )
    throw new CprkitError("ERR_DESCRIPTION", `bytes ${start} to ${end} are not part of a buffer of ${size}`);
  return {
    type: "buffer",
    size: end - start,
    load: (reader, current) => {
      const part = reader.buffer(end - start);
      const whole = new Uint8Array(size);
      if (current?.length === size) whole.set(current);
      whole.set(part, start);
      return whole;
    },
    save: (writer, value) => {
      if (!(value instanceof Uint8Array) || value.length !== size) throw misfit(`a Uint8Array of ${size} bytes`, value);
      writer.buffer(value.subarray(start, end));
    },
  };
}

/**
 * A C string in a buffer whose length, with the final NUL, the field `lengthField` holds: the way that QEMU sends a
 * `char *` (VMSTATE_VBUFFER_ALLOC_UINT32). The value is text without the NUL; bytes that are not UTF-8 survive (see
 * text.ts). QEMU checks none of it; here a length of 0 or above `maxLength`, a missing final NUL and a NUL before it
 * are errors.
 */
export function cstring(lengthField: string, maxLength: number): Field<string> {
  return withRecipe(
    { kind: "cstring", lengthField, maxLength },
    {
      type: "buffer",
      needs: [lengthField],
      load: (reader, _current, siblings) => {
        const length = siblingCount(siblings, lengthField, reader);
        if (length < 1 || length > maxLength) {
          throw reader.error(
            "ERR_LIMIT",
            `expected a length from 1 to ${maxLength} with the final NUL, found ${length}`,
            4,
          );
        }
        return reader.cstring(length);
      },
      save: (writer, value, siblings) => {
        if (typeof value !== "string") throw misfit("text without NUL", value);
        const length = writer.cstring(value);
        if (siblings[lengthField] !== length) throw misfit(`"${lengthField}" to be ${length}`, siblings[lengthField]);
        if (length > maxLength) throw misfit(`at most ${maxLength} bytes with the final NUL`, value);
      },
    },
  );
}
