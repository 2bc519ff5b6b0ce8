// A description inside a description.

import type { Description } from "../description.ts";
import { loadBody, located, saveBody } from "../engine.ts";
import type { Field } from "../field.ts";

/**
 * A nested structure (VMSTATE_STRUCT). It has no version of its own on the wire: it is loaded and saved at its
 * description's own, not at the parent's (QEMU 10.0 migration/vmstate.c).
 */
export function struct<State>(description: Description<State>): Field<State> {
  return nested("struct", description, description.version);
}

/** A nested structure at a version that the parent chooses (VMSTATE_VSTRUCT). */
export function vstruct<State>(description: Description<State>, structVersion: number): Field<State> {
  return nested("vstruct", description, structVersion);
}

function nested<State>(type: string, description: Description<State>, version: number): Field<State> {
  return {
    type,
    descriptions: [description],
    load: (reader, current) => {
      try {
        return loadBody(reader, description, version, current as Partial<State> | undefined);
      } catch (error) {
        throw located(error, description.name);
      }
    },
    save: (writer, value) => {
      try {
        saveBody(writer, description, value, version);
      } catch (error) {
        throw located(error, description.name);
      }
    },
  };
}
