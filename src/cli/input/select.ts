// Takes the sections and fields that the user asked for.

import type { FieldNode, Migration, Section } from "../../migration/index.ts";
import { globTest } from "./glob.ts";

export interface Selection {
  readonly section?: string | undefined;
  readonly field?: string | undefined;
}

/** The stream with only the sections and fields that were asked for; sections without one are left out. */
export function select(migration: Migration, { section, field }: Selection): Migration {
  if (section === undefined && field === undefined) return migration;
  const wanted = section === undefined ? () => true : globTest(section);
  const inField = field === undefined ? undefined : globTest(field);
  const sections = migration.sections
    .filter((one) => wanted(one.name))
    .map((one): Section => (inField === undefined ? one : { ...one, fields: fieldsIn(one.fields, "", inField) }))
    .filter((one) => inField === undefined || one.fields.length > 0);
  return { ...migration, sections };
}

/** A field's path as it is shown and matched: "parent_obj/config", "regs[3]". */
export function fieldPath(path: string, name: string | number): string {
  if (typeof name === "number") return `${path}[${name}]`;
  return path === "" ? name : `${path}/${name}`;
}

function fieldsIn(fields: readonly FieldNode[], path: string, wanted: (path: string) => boolean): readonly FieldNode[] {
  return fields.flatMap((field) => {
    const place = fieldPath(path, field.name);
    if (wanted(place)) return [field];
    if (field.fields === undefined) return [];
    const inside = fieldsIn(field.fields, place, wanted);
    return inside.length === 0 ? [] : [{ ...field, fields: inside }];
  });
}
