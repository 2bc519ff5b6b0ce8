// Takes the sections and fields that the user asked for.

import { type FieldNode, fieldPath, type Migration, type Section } from "../../migration/index.ts";
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

function fieldsIn(fields: readonly FieldNode[], path: string, wanted: (path: string) => boolean): readonly FieldNode[] {
  return fields.flatMap((field) => {
    const place = fieldPath(path, field.name);
    if (wanted(place)) return [field];
    if (field.fields === undefined) return [];
    const inside = fieldsIn(field.fields, place, wanted);
    return inside.length === 0 ? [] : [{ ...field, fields: inside }];
  });
}
