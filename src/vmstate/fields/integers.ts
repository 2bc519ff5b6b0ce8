// bool and the integers (QEMU 10.0 migration/vmstate-types.c). 64 bits are bigint, always.

import { type Field, misfit } from "../field.ts";
import { hex } from "../reader.ts";

/** One byte, 00 or 01 (VMSTATE_BOOL). QEMU takes any other byte for true; here it is ERR_BAD_BYTE. */
export function bool(): Field<boolean> {
  return {
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
  };
}

/** 8 bits, signed (VMSTATE_INT8). */
export const int8 = (): Field<number> =>
  small(
    "int8",
    1,
    -0x80,
    0x7f,
    (r) => r.int8(),
    (w, v) => w.uint8(v & 0xff),
  );
/** 8 bits, unsigned (VMSTATE_UINT8). */
export const uint8 = (): Field<number> =>
  small(
    "uint8",
    1,
    0,
    0xff,
    (r) => r.uint8(),
    (w, v) => w.uint8(v),
  );
/** 16 bits, signed (VMSTATE_INT16). */
export const int16 = (): Field<number> =>
  small(
    "int16",
    2,
    -0x8000,
    0x7fff,
    (r) => r.int16(),
    (w, v) => w.uint16(v & 0xffff),
  );
/** 16 bits, unsigned (VMSTATE_UINT16). */
export const uint16 = (): Field<number> =>
  small(
    "uint16",
    2,
    0,
    0xffff,
    (r) => r.uint16(),
    (w, v) => w.uint16(v),
  );
/** 32 bits, signed (VMSTATE_INT32). */
export const int32 = (): Field<number> =>
  small(
    "int32",
    4,
    -0x8000_0000,
    0x7fff_ffff,
    (r) => r.int32(),
    (w, v) => w.uint32(v >>> 0),
  );
/** 32 bits, unsigned (VMSTATE_UINT32). */
export const uint32 = (): Field<number> =>
  small(
    "uint32",
    4,
    0,
    0xffff_ffff,
    (r) => r.uint32(),
    (w, v) => w.uint32(v),
  );
/** 64 bits, signed, as bigint (VMSTATE_INT64). */
export const int64 = (): Field<bigint> =>
  big(
    "int64",
    -(2n ** 63n),
    2n ** 63n - 1n,
    (r) => r.int64(),
    (w, v) => w.uint64(BigInt.asUintN(64, v)),
  );
/** 64 bits, unsigned, as bigint (VMSTATE_UINT64). */
export const uint64 = (): Field<bigint> =>
  big(
    "uint64",
    0n,
    2n ** 64n - 1n,
    (r) => r.uint64(),
    (w, v) => w.uint64(v),
  );

type Load<T> = (reader: Parameters<Field<T>["load"]>[0]) => T;
type Save<T> = (writer: Parameters<Field<T>["save"]>[0], value: T) => void;

function small(
  type: string,
  size: number,
  min: number,
  max: number,
  load: Load<number>,
  save: Save<number>,
): Field<number> {
  return {
    type,
    size,
    load,
    save: (writer, value) => {
      if (!Number.isInteger(value) || value < min || value > max)
        throw misfit(`an integer from ${min} to ${max}`, value);
      save(writer, value);
    },
  };
}

function big(type: string, min: bigint, max: bigint, load: Load<bigint>, save: Save<bigint>): Field<bigint> {
  return {
    type,
    size: 8,
    load,
    save: (writer, value) => {
      if (typeof value !== "bigint" || value < min || value > max)
        throw misfit(`a bigint from ${min} to ${max}`, value);
      save(writer, value);
    },
  };
}
