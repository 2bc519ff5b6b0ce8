// Fields without a plain value of their own: padding, scratch structures, checks.

import type { Description } from "../description.ts";
import { checkElement, loadBody, located, saveBody } from "../engine.ts";
import type { Siblings } from "../facts.ts";
import { loadsAs, type Recipe, savesAs } from "../recipes.ts";
import { bodyMinimum, bodySize } from "../sizes.ts";
import type { Field, GatedField } from "../types.ts";
import { checkNumber } from "./arrays.ts";
import { type FieldTest, tested } from "./gated.ts";

/** `size` bytes without a meaning any more (VMSTATE_UNUSED): zero when saved, anything when loaded. */
export function unusedBuffer(size: number): GatedField<undefined> {
  checkNumber("a buffer's size", size);
  const recipe: Recipe = { kind: "unused", size };
  const field: GatedField<undefined> = {
    type: "unused_buffer",
    size,
    optional: true,
    gated: true,
    load: (reader) => {
      reader.buffer(size);
      return undefined;
    },
    save: (writer) => writer.zeros(size),
  };
  return loadsAs(recipe, savesAs(recipe, field));
}

/** Options of {@link withTmp}. */
export interface TmpOptions {
  /** QEMU's field.version_id: since when the field exists, and the version its body is loaded at. Default 0. */
  readonly version?: number;
}

/** How a scratch structure is made from its parent and goes back into it. */
export interface TmpConversion<State> {
  readonly fromParent: (parent: Siblings) => State;
  readonly toParent: (scratch: State, parent: Record<string, unknown>) => void;
}

/**
 * A scratch structure beside its parent (VMSTATE_WITH_TMP): on the wire it looks like a nested one. Its state is the
 * field's value; or, with a conversion, `fromParent` makes it on save and `toParent` uses it on load.
 */
export function withTmp<State>(description: Description<State>, options?: TmpOptions): Field<State>;
/** As above, with a conversion from and to the parent. */
export function withTmp<State>(
  description: Description<State>,
  options: TmpOptions & TmpConversion<State>,
): GatedField<State>;
export function withTmp<State>(
  description: Description<State>,
  { version = 0, fromParent, toParent }: TmpOptions & Partial<TmpConversion<State>> = {},
): Field<State> {
  checkElement(description, version);
  return {
    type: "tmp",
    version,
    size: version === description.version ? bodySize(description, version) : undefined,
    minimum: bodyMinimum(description, version),
    optional: fromParent !== undefined,
    descriptions: [description],
    load: (reader, _current, siblings) => {
      try {
        const scratch = loadBody(reader, description, version);
        // The conversion's purpose is to change the parent that is being loaded.
        toParent?.(scratch, siblings as Record<string, unknown>);
        return scratch;
      } catch (error) {
        throw located(error, description.name);
      }
    },
    save: (writer, value, siblings) => {
      try {
        saveBody(writer, description, fromParent === undefined ? value : fromParent(siblings));
      } catch (error) {
        throw located(error, description.name);
      }
    },
  };
}

/**
 * No bytes, only a check of what was loaded or is to be saved (VMSTATE_VALIDATE): loading and saving throw
 * ERR_MUST_EXIST where `test` says no.
 *
 *     validate(["low", "high"], ({ low, high }: { low: number; high: number }) => low <= high)
 *
 * @param needs the fields that `test` looks at: `vmstate` throws ERR_DESCRIPTION unless each comes before this one
 */
export function validate<Needed extends object>(
  needs: readonly (keyof Needed & string)[],
  test: FieldTest<Needed>,
): GatedField<undefined> {
  return {
    // As in QEMU an array of no elements: it leaves no trace in the JSON description.
    type: "validate",
    sequence: "array",
    size: 0,
    ...tested(needs, test),
    mustExist: true,
    optional: true,
    gated: true,
    load: () => undefined,
    save: () => undefined,
  };
}
