// The fields of a section by their paths.

import { walkFields } from "../fields.ts";
import type { FieldNode } from "../model.ts";

/** Fields, and those inside them, by their path. */
export type ValuesByPath = ReadonlyMap<string, FieldNode>;

/** Of fields that were asked for already: a destination may be compared with many sources. */
const known = new WeakMap<readonly FieldNode[], ValuesByPath>();

export function valuesByPath(fields: readonly FieldNode[]): ValuesByPath {
  const before = known.get(fields);
  if (before !== undefined) return before;
  const byPath = new Map<string, FieldNode>();
  for (const { path, field } of walkFields(fields)) byPath.set(path, field);
  known.set(fields, byPath);
  return byPath;
}
