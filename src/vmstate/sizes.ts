// How many bytes a field or a body takes, as far as its description alone says: counts are checked against it.

import type { DescriptionFacts, FieldFacts } from "./facts.ts";

/** Elements that take no bytes cost the sender nothing: more of them than this is a mistake or an attack. */
export const maxEmptyElements = 4096;

/** Bytes of a body when they are always the same, else undefined. */
export function bodySize(description: DescriptionFacts, version: number): number | undefined {
  if (description.subsections.length > 0) return undefined;
  let size = 0;
  for (const { field } of description.fields) {
    if (field.exists !== undefined) return undefined;
    if ((field.version ?? 0) > version) continue;
    if (field.size === undefined) return undefined;
    size += field.size;
  }
  return size;
}

/** Fewest bytes that a body can take. */
export function bodyMinimum(description: DescriptionFacts, version: number): number {
  let minimum = 0;
  for (const { field } of description.fields) {
    if (field.exists === undefined && (field.version ?? 0) <= version) minimum += fieldMinimum(field);
  }
  return minimum;
}

/** Fewest bytes that a field can take when it exists. */
export function fieldMinimum(field: FieldFacts): number {
  return field.size ?? field.minimum ?? 0;
}
