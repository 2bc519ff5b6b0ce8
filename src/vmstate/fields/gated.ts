// Fields that some streams lack.

import { CprkitError } from "../error.ts";
import type { Siblings } from "../facts.ts";
import { savesAs } from "../recipes.ts";
import type { Field, GatedField } from "../types.ts";
import { Reader } from "../wire/reader.ts";

/**
 * The field exists from version `version` of its description on. Older streams leave it as it was (QEMU's
 * field.version_id, QEMU 10.0 migration/vmstate.c).
 *
 * @param initial what is saved for a state that has no value, such as one that an older stream was loaded into; by
 * default what the field's bytes mean when they are all zero. Saving throws ERR_VALUE for a kind of field that has no
 * such value.
 */
export function since<T>(version: number, field: Field<T>, initial?: T): GatedField<T> {
  // It loads as `field` does, by the same function.
  return savesAs<GatedField<T>>(
    { kind: "since", field },
    {
      ...field,
      version,
      gated: true,
      optional: true,
      save: (writer, value, siblings) =>
        field.save(writer, value === undefined ? (initial ?? zeroOf(field, siblings)) : value, siblings),
    },
  );
}

/** Tests the fields that it names; `version` is that of the description in the stream. */
export type FieldTest<Needed> = (siblings: Readonly<Needed>, version: number) => boolean;

/**
 * The field exists when `test` says so, whatever its version (QEMU's field_exists, VMSTATE_*_TEST).
 *
 *     existsIf(["flags"], ({ flags }: { flags: number }) => (flags & 1) !== 0, uint32())
 *
 * @param needs the fields that `test` looks at: `vmstate` throws ERR_DESCRIPTION unless each comes before this one
 */
export function existsIf<T, Needed extends object>(
  needs: readonly (keyof Needed & string)[],
  test: FieldTest<Needed>,
  field: Field<T>,
): GatedField<T> {
  return { ...field, ...tested(needs, test, field.needs), gated: true };
}

/**
 * A stream without the field is an error (VMS_MUST_EXIST): for a field that `since` or `existsIf` gates. Its value is
 * always there.
 */
export function mustExist<T>(field: Field<T>): Field<T> {
  return { ...field, mustExist: true, gated: undefined } as Field<T>;
}

/** What a field has that exists when `test` says so. */
export function tested<Needed extends object>(
  needs: readonly (keyof Needed & string)[],
  test: FieldTest<Needed>,
  more: readonly string[] = [],
): Required<Pick<Field<unknown>, "needs" | "exists">> {
  return {
    needs: [...needs, ...more],
    // The names were checked when the fields were described; their types are the caller's word.
    exists: (siblings, version) => test(siblings as Readonly<Needed>, version),
  };
}

/** What all bytes zero mean. */
function zeroOf<T>(field: Field<T>, siblings: Siblings): T {
  try {
    return field.load(new Reader({ bytes: new Uint8Array(field.size ?? field.minimum ?? 0) }), undefined, siblings);
  } catch (cause) {
    throw new CprkitError("ERR_VALUE", `no value, and a ${field.type} has none by default: give one to since()`, {
      cause,
    });
  }
}
