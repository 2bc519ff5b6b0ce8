// Integers that must agree with what the target holds: the stream fits this machine, or it does not.

import { loadsAs, type ScalarKind, withRecipe } from "../recipes.ts";
import { type Field, misfit, show } from "../types.ts";
import { int32, uint8, uint16, uint32, uint64 } from "./integers.ts";

/** Options of the field kinds whose value must equal the target's. */
export interface EqualOptions {
  /** What the operator can do about it; it ends the message. */
  readonly hint?: string;
}

// A target without a value, such as a tool's, has nothing to compare with: whatever comes is taken.

/** 8 bits, which must equal the target's (VMSTATE_UINT8_EQUAL). Throws ERR_NOT_EQUAL. */
export const uint8Equal = (options?: EqualOptions): Field<number> => equal("uint8", "uint8 equal", uint8(), options);
/** 16 bits, which must equal the target's (VMSTATE_UINT16_EQUAL). Throws ERR_NOT_EQUAL. */
export const uint16Equal = (options?: EqualOptions): Field<number> =>
  equal("uint16", "uint16 equal", uint16(), options);
/** 32 bits, signed, which must equal the target's (VMSTATE_INT32_EQUAL). Throws ERR_NOT_EQUAL. */
export const int32Equal = (options?: EqualOptions): Field<number> => equal("int32", "int32 equal", int32(), options);
/** 32 bits, which must equal the target's (VMSTATE_UINT32_EQUAL). Throws ERR_NOT_EQUAL. */
export const uint32Equal = (options?: EqualOptions): Field<number> =>
  equal("uint32", "uint32 equal", uint32(), options);
/** 64 bits, unsigned, which must equal the target's (VMSTATE_UINT64_EQUAL). QEMU calls it "int64 equal" all the same. */
export const uint64Equal = (options?: EqualOptions): Field<bigint> => equal("uint64", "int64 equal", uint64(), options);

/**
 * 32 bits, signed: from 0 to the target's value, which it replaces (VMSTATE_INT32_POSITIVE_LE). "le" means less or
 * equal; the bytes are big-endian. Throws ERR_RANGE.
 */
export function int32Le(): Field<number> {
  const plain = int32();
  return withRecipe<number>(
    { kind: "scalar", of: "positive", compares: true },
    {
      ...plain,
      type: "int32 le",
      load: (reader, current, siblings) => {
        const value = plain.load(reader, current, siblings);
        if (value < 0 || (current !== undefined && value > current)) {
          const upTo = current === undefined ? "up" : `to ${current}, the value here`;
          throw reader.error("ERR_RANGE", `expected a value from 0 ${upTo}, found ${value} in the stream`, 4);
        }
        return value;
      },
      // What no stream may hold is not written into one.
      save: (writer, value, siblings) => {
        if (typeof value === "number" && value < 0) throw misfit("an integer from 0 to 2147483647", value);
        plain.save(writer, value, siblings);
      },
    },
  );
}

function equal<T extends number | bigint>(
  of: ScalarKind,
  type: string,
  plain: Field<T>,
  { hint }: EqualOptions = {},
): Field<T> {
  return loadsAs<Field<T>>(
    { kind: "scalar", of, compares: true },
    {
      ...plain,
      type,
      load: (reader, current, siblings) => {
        const value = plain.load(reader, current, siblings);
        if (current !== undefined && value !== current) {
          throw reader.error(
            "ERR_NOT_EQUAL",
            `the stream has ${both(value)}, this machine ${both(current)}; they must be equal${hint === undefined ? "" : `. ${hint}`}`,
            plain.size,
          );
        }
        return value;
      },
    },
  );
}

function both(value: number | bigint): string {
  return value < 0 ? show(value) : `${value} (0x${value.toString(16)})`;
}
