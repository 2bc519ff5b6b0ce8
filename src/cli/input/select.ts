// Takes the sections and fields that the user asked for.

import { type Migration, type Section, selectFields } from "../../migration/index.ts";
import { globTest } from "./glob.ts";

export interface Selection {
  readonly section?: string | undefined;
  readonly field?: string | undefined;
}

/** The stream with only the sections and fields that were asked for; sections without one are left out. */
export function select(migration: Migration, { section, field }: Selection): Migration {
  if (section === undefined && field === undefined) return migration;
  const wanted = section === undefined ? () => true : globTest(section);
  const sections = migration.sections.filter((one) => wanted(one.name));
  if (field === undefined) return { ...migration, sections };
  const inField = globTest(field);
  return {
    ...migration,
    sections: sections
      .map((one): Section => ({ ...one, fields: selectFields(one.fields, ({ path }) => inField(path)) }))
      .filter(({ fields }) => fields.length > 0),
  };
}
