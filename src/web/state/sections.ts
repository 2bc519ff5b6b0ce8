// The sections as the views list them: one row for each, and one for all rounds of one that is sent while the guest runs.

import { type FieldNode, fieldPath, type Section, sectionLabel, walkFields } from "../../migration/index.ts";
import { printable } from "../../vmstate/shown/text.ts";
import { valueText } from "../../vmstate/shown/values.ts";
import type { ShownMigration } from "../worker/protocol.ts";

/** A row of the list of sections. */
export interface SectionRow {
  /** Of its first section: names it. */
  readonly id: number;
  readonly section: Section;
  /** As `cprkit inspect --section` names it. */
  readonly label: string;
  /** How many sections of the stream it stands for. */
  readonly count: number;
  /** Bytes of all of them. */
  readonly size: number;
}

/** The rows, in the order of the stream. */
export function sectionRows({ sections }: ShownMigration): SectionRow[] {
  const rows: SectionRow[] = [];
  const byId = new Map<number, number>();
  for (const section of sections) {
    const { id, type, offset, count, size } = section;
    const known = type === "part" || type === "end" ? byId.get(id) : undefined;
    const row = known === undefined ? undefined : rows[known];
    if (row === undefined || known === undefined) {
      byId.set(id, rows.length);
      rows.push({ id: offset, section, label: sectionLabel(section), count, size });
    } else rows[known] = { ...row, count: row.count + count, size: row.size + size };
  }
  return rows;
}

/** A field of a section with where it is. */
export interface FieldRow {
  readonly field: FieldNode;
  readonly path: string;
  readonly depth: number;
}

const rowsOf = new WeakMap<Section, readonly FieldRow[]>();
const texts = new WeakMap<Section, readonly string[]>();

/** All fields of a section, outer ones before those inside. */
export function fieldRows(section: Section): readonly FieldRow[] {
  let rows = rowsOf.get(section);
  if (rows === undefined) {
    rows = [...walkFields(section.fields)];
    rowsOf.set(section, rows);
  }
  return rows;
}

/** Fields that have `words` in their path or value, in lower case. */
export function matchingFields(section: Section, words: string): FieldRow[] {
  let found = texts.get(section);
  if (found === undefined) {
    found = fieldRows(section).map(({ path, field }) => `${path} ${shownValue(field)}`.toLowerCase());
    texts.set(section, found);
  }
  const all = found;
  return fieldRows(section).filter((_, index) => all[index]?.includes(words));
}

/** A field's value in one line; "" for one that has others inside. */
export function shownValue({ value, fields }: FieldNode): string {
  return fields === undefined ? valueText(value) : "";
}

/** A field's own name. */
export function shownName({ name }: FieldNode): string {
  return printable(fieldPath("", name));
}
