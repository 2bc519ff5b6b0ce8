// A description inside a description.

import type { Description } from "../description.ts";
import { bodyLoader, elementSaver, loadBody, located } from "../engine.ts";
import { CprkitError } from "../error.ts";
import { withRecipe } from "../recipes.ts";
import { bodyMinimum, bodySize } from "../sizes.ts";
import type { Field } from "../types.ts";
import type { Reader } from "../wire/reader.ts";
import type { Writer } from "../wire/writer.ts";

/**
 * A nested structure (VMSTATE_STRUCT). It has no version of its own on the wire: it is loaded and saved at its
 * description's own, not at the parent's (QEMU 10.0 migration/vmstate.c).
 */
export function struct<State>(description: Description<State>): Field<State> {
  return nested("struct", description, description.version);
}

/**
 * A pointer to a structure (VMSTATE_STRUCT_POINTER). The pointer leaves no trace on the wire, and a null pointer
 * cannot be sent: guard it with `existsIf` (VMSTATE_STRUCT_POINTER_TEST).
 */
export function pointer<State>(description: Description<State>): Field<State> {
  return struct(description);
}

/**
 * A nested structure at a version that the parent chooses (VMSTATE_VSTRUCT). Throws ERR_DESCRIPTION for a version that
 * `description` does not load.
 */
export function vstruct<State>(description: Description<State>, structVersion: number): Field<State> {
  const { name, version, minimumVersion } = description;
  if (!Number.isInteger(structVersion) || structVersion > version || structVersion < minimumVersion)
    throw new CprkitError(
      "ERR_DESCRIPTION",
      `"${name}" is nested at version ${structVersion}, but loads ${minimumVersion} to ${version}`,
    );
  return nested("vstruct", description, structVersion);
}

function nested<State>(type: string, description: Description<State>, version: number): Field<State> {
  // Made at the first use. Most structures stand in arrays: what is the same for all elements is done once.
  let loadNew: ((reader: Reader) => State) | undefined;
  let saveOne: ((writer: Writer, state: State) => void) | undefined;
  return withRecipe(
    { kind: "struct", description, version },
    {
      type,
      size: bodySize(description, version),
      minimum: bodyMinimum(description, version),
      descriptions: [description],
      load: (reader, current) => {
        try {
          if (current !== undefined) return loadBody(reader, description, version, current as Partial<State>);
          loadNew ??= bodyLoader(description, version);
          return loadNew(reader);
        } catch (error) {
          throw located(error, description.name);
        }
      },
      save: (writer, value) => {
        try {
          saveOne ??= elementSaver(description, version);
          saveOne(writer, value);
        } catch (error) {
          throw located(error, description.name);
        }
      },
    },
  );
}
