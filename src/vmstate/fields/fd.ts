// An open file descriptor. The codec never touches the kernel: an fd is a number here.

import { withRecipe } from "../recipes.ts";
import { type Field, misfit } from "../types.ts";
import { hex } from "../wire/reader.ts";

/** The byte that stands for a passed fd (QEMU 10.0 migration/qemu-file.c). */
const serviceByte = 0x20;

/**
 * An fd (VMSTATE_FD). With fdForm "passed" one byte 0x20, and the fd beside the bytes; with "number" an s32.
 * Throws ERR_BAD_BYTE for another byte, ERR_FD_MISSING if no fd came for it, ERR_RANGE for a negative number.
 */
export function fd(): Field<number> {
  return fdField;
}

const fdField = withRecipe<number>(
  { kind: "fd" },
  {
    type: "fd",
    minimum: 1,
    load: (reader) => {
      if (reader.fdForm === "number") {
        const value = reader.int32();
        if (value < 0) throw reader.error("ERR_RANGE", `expected the number of an open fd, found ${value}`, 4);
        return value;
      }
      const byte = reader.uint8();
      if (byte !== serviceByte)
        throw reader.error("ERR_BAD_BYTE", `expected 20, the byte that stands for an fd, found ${hex(byte)}`, 1);
      return reader.takeFd();
    },
    save: (writer, value) => {
      if (!Number.isInteger(value) || value < -1 || value > 0x7fff_ffff) throw misfit("the number of an fd", value);
      if (writer.fdForm === "number") {
        if (value < 0) throw misfit("the number of an open fd", value);
        writer.uint32(value);
        return;
      }
      writer.uint8(serviceByte);
      writer.passFd(value);
    },
  },
);
