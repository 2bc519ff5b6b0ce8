// bool and the integers (QEMU 10.0 migration/vmstate-types.c). 64 bits are bigint, always.

import { type ScalarKind, withRecipe } from "../recipes.ts";
import { type Field, misfit } from "../types.ts";
import { hex } from "../wire/reader.ts";

/** One byte, 00 or 01 (VMSTATE_BOOL). QEMU takes any other byte for true; here it is ERR_BAD_BYTE. */
export function bool(): Field<boolean> {
  return boolField;
}
/** 8 bits, signed (VMSTATE_INT8). */
export const int8 = (): Field<number> => int8Field;
/** 8 bits, unsigned (VMSTATE_UINT8). */
export const uint8 = (): Field<number> => uint8Field;
/** 16 bits, signed (VMSTATE_INT16). */
export const int16 = (): Field<number> => int16Field;
/** 16 bits, unsigned (VMSTATE_UINT16). */
export const uint16 = (): Field<number> => uint16Field;
/** 32 bits, signed (VMSTATE_INT32). */
export const int32 = (): Field<number> => int32Field;
/** 32 bits, unsigned (VMSTATE_UINT32). */
export const uint32 = (): Field<number> => uint32Field;
/** 64 bits, signed, as bigint (VMSTATE_INT64). */
export const int64 = (): Field<bigint> => int64Field;
/** 64 bits, unsigned, as bigint (VMSTATE_UINT64). */
export const uint64 = (): Field<bigint> => uint64Field;

// One field each, made once. And one literal each: a shared function for their checks would be another call for each
// value.

const boolField = scalar<boolean>("bool", {
  type: "bool",
  size: 1,
  load: (reader) => {
    const byte = reader.uint8();
    if (byte > 1) throw reader.error("ERR_BAD_BYTE", `expected 00 or 01, found ${hex(byte)}`, 1);
    return byte === 1;
  },
  save: (writer, value) => {
    if (typeof value !== "boolean") throw misfit("true or false", value);
    writer.uint8(value ? 1 : 0);
  },
});

const int8Field = scalar<number>("int8", {
  type: "int8",
  size: 1,
  load: (reader) => reader.int8(),
  save: (writer, value) => {
    if (typeof value !== "number" || (value << 24) >> 24 !== value) throw misfit("an integer from -128 to 127", value);
    writer.uint8(value & 0xff);
  },
});
const uint8Field = scalar<number>("uint8", {
  type: "uint8",
  size: 1,
  load: (reader) => reader.uint8(),
  save: (writer, value) => {
    if (typeof value !== "number" || (value & 0xff) !== value) throw misfit("an integer from 0 to 255", value);
    writer.uint8(value);
  },
});
const int16Field = scalar<number>("int16", {
  type: "int16",
  size: 2,
  load: (reader) => reader.int16(),
  save: (writer, value) => {
    if (typeof value !== "number" || (value << 16) >> 16 !== value)
      throw misfit("an integer from -32768 to 32767", value);
    writer.uint16(value & 0xffff);
  },
});
const uint16Field = scalar<number>("uint16", {
  type: "uint16",
  size: 2,
  load: (reader) => reader.uint16(),
  save: (writer, value) => {
    if (typeof value !== "number" || (value & 0xffff) !== value) throw misfit("an integer from 0 to 65535", value);
    writer.uint16(value);
  },
});
const int32Field = scalar<number>("int32", {
  type: "int32",
  size: 4,
  load: (reader) => reader.int32(),
  save: (writer, value) => {
    if (typeof value !== "number" || (value | 0) !== value)
      throw misfit("an integer from -2147483648 to 2147483647", value);
    writer.uint32(value >>> 0);
  },
});
const uint32Field = scalar<number>("uint32", {
  type: "uint32",
  size: 4,
  load: (reader) => reader.uint32(),
  save: (writer, value) => {
    if (typeof value !== "number" || value >>> 0 !== value) throw misfit("an integer from 0 to 4294967295", value);
    writer.uint32(value);
  },
});
const int64Field = big(
  "int64",
  -(2n ** 63n),
  2n ** 63n - 1n,
  (r) => r.int64(),
  (w, v) => w.uint64(BigInt.asUintN(64, v)),
);
const uint64Field = big(
  "uint64",
  0n,
  2n ** 64n - 1n,
  (r) => r.uint64(),
  (w, v) => w.uint64(v),
);

type Load<T> = (reader: Parameters<Field<T>["load"]>[0]) => T;
type Save<T> = (writer: Parameters<Field<T>["save"]>[0], value: T) => void;

function big(
  type: "int64" | "uint64",
  min: bigint,
  max: bigint,
  load: Load<bigint>,
  save: Save<bigint>,
): Field<bigint> {
  return scalar(type, {
    type,
    size: 8,
    load,
    save: (writer, value) => {
      if (typeof value !== "bigint" || value < min || value > max)
        throw misfit(`a bigint from ${min} to ${max}`, value);
      save(writer, value);
    },
  });
}

function scalar<T>(of: ScalarKind, field: Field<T>): Field<T> {
  return withRecipe({ kind: "scalar", of }, field);
}
