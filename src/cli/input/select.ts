// Takes the sections and fields that the user asked for.

import { type Migration, type Section, sectionLabel, selectFields, walkFields } from "../../migration/index.ts";
import { CprkitError } from "../../vmstate/error.ts";
import { nearWords } from "../near.ts";
import { globTest } from "./glob.ts";

export interface Selection {
  readonly section?: string | undefined;
  readonly field?: string | undefined;
}

/**
 * The stream with only the sections and fields that were asked for; sections without one are left out. A section is named
 * by its name, or as the overview shows it: "cpu" stands for all of that name, "cpu(1)" for one.
 */
export function select(migration: Migration, { section, field }: Selection): Migration {
  if (section === undefined && field === undefined) return migration;
  const sections = migration.sections.filter(sectionTest(section));
  if (field === undefined) return { ...migration, sections };
  const inField = globTest(field);
  return {
    ...migration,
    sections: sections
      .map((one): Section => ({ ...one, fields: selectFields(one.fields, ({ path }) => inField(path)) }))
      .filter(({ fields }) => fields.length > 0),
  };
}

/** Why nothing is left of `wholes` after `select`: what was asked for, and what is like it. Undefined if something is. */
export function nothingSelected(wholes: readonly Migration[], selection: Selection): CprkitError | undefined {
  const { section, field } = selection;
  if (section === undefined && field === undefined) return undefined;
  if (wholes.some((whole) => select(whole, selection).sections.length > 0)) return undefined;
  const all = wholes.flatMap(({ sections }) => sections);
  const chosen = all.filter(sectionTest(section));
  if (section !== undefined && chosen.length === 0) {
    return missing(`no section is named "${section}"`, section, labels(all), "--section");
  }
  const names = chosen.flatMap(({ fields }) => [...walkFields(fields)].map(({ path }) => path));
  const where = section === undefined ? "" : ` in ${labels(chosen).slice(0, 3).join(", ")}`;
  return missing(`no field is named "${field}"${where}`, field ?? "", [...new Set(names)], "--field");
}

function sectionTest(pattern: string | undefined): (section: Section) => boolean {
  if (pattern === undefined) return () => true;
  const wanted = globTest(pattern);
  return (one) => wanted(one.name) || wanted(sectionLabel(one));
}

function labels(sections: readonly Section[]): string[] {
  return [...new Set(sections.map(sectionLabel))];
}

/** Names that are meant, perhaps: those that contain the word come first. */
function missing(what: string, pattern: string, known: readonly string[], option: string): CprkitError {
  const word = pattern.replaceAll(/[*?]/g, "").toLowerCase();
  const within = word.length < 2 ? [] : known.filter((name) => name.toLowerCase().includes(word)).slice(0, 3);
  const near = within.length > 0 ? within.map((name) => `*${word}* (${name})`).slice(0, 1) : nearWords(word, known);
  const hint = near.length > 0 ? `; perhaps ${near.join(", ")}` : "";
  return new CprkitError("ERR_USAGE", `${what}${hint}: \`cprkit inspect FILE\` lists sections, ${option} takes "*"`);
}
