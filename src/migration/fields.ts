// A walk over decoded fields, and a choice among them.

import type { FieldNode } from "./model.ts";
import { fieldPath } from "./paths.ts";

/** A field as {@link walkFields} comes to it. */
export interface WalkedField {
  readonly field: FieldNode;
  /** From the section down, as {@link fieldPath} joins it: "parent_obj/config", "channels[2]/count". */
  readonly path: string;
  /** 0 for the section's own fields, 1 for the fields inside one of those. */
  readonly depth: number;
}

/**
 * All fields of a section (`section.fields`) or a command, and all that is inside them, in the order of the stream: a
 * structure, an array of structures or a subsection comes before what is in it.
 *
 * An array of numbers is one field, whose value is an array. A field that the stream does not have (an optional one, a
 * subsection that was not sent) is not there. If the input broke off, the field where it did has neither a value nor
 * fields inside.
 */
export function* walkFields(fields: readonly FieldNode[]): Generator<WalkedField, void, void> {
  yield* walk(fields, "", 0);
}

function* walk(fields: readonly FieldNode[], outer: string, depth: number): Generator<WalkedField, void, void> {
  for (const field of fields) {
    const path = fieldPath(outer, field.name);
    yield { field, path, depth };
    if (field.fields !== undefined) yield* walk(field.fields, path, depth + 1);
  }
}

/**
 * The fields for which `wanted` is true, each with all that is inside it. A field that is not wanted, but has wanted ones
 * inside, stays with those alone. `wanted` is asked as {@link walkFields} goes, but not about what is inside a wanted
 * field. An empty array if nothing is wanted; the given fields are not changed.
 */
export function selectFields(fields: readonly FieldNode[], wanted: (field: WalkedField) => boolean): FieldNode[] {
  return select(fields, "", 0, wanted);
}

function select(
  fields: readonly FieldNode[],
  outer: string,
  depth: number,
  wanted: (field: WalkedField) => boolean,
): FieldNode[] {
  return fields.flatMap((field) => {
    const path = fieldPath(outer, field.name);
    if (wanted({ field, path, depth })) return [field];
    const inside = select(field.fields ?? [], path, depth + 1, wanted);
    return inside.length === 0 ? [] : [{ ...field, fields: inside }];
  });
}
