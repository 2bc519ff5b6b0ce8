// JSON as rows of a tree.

import { printable } from "../../vmstate/shown/text.ts";

/** A row. */
export interface JsonRow {
  readonly path: string;
  readonly name: string;
  readonly text: string;
  readonly level: number;
  /** Undefined for what has nothing inside. */
  readonly open: boolean | undefined;
}

/** The rows of what is open; while something is looked for, all that have it in their path or value. */
export function jsonRows(value: unknown, opened: ReadonlySet<string>, words: string): JsonRow[] {
  const rows: JsonRow[] = [];
  add(value, "", 1, { opened, words, rows });
  return rows;
}

interface Rest {
  readonly opened: ReadonlySet<string>;
  readonly words: string;
  readonly rows: JsonRow[];
}

function add(value: unknown, outer: string, level: number, rest: Rest): void {
  if (typeof value !== "object" || value === null) return;
  for (const [key, inner] of Object.entries(value)) {
    const path = outer === "" ? key : `${outer}/${key}`;
    const hasParts = typeof inner === "object" && inner !== null && Object.keys(inner).length > 0;
    const text = hasParts ? `${Object.keys(inner).length}` : textOf(inner);
    if (rest.words !== "") {
      const isFound = `${path} ${hasParts ? "" : text}`.toLowerCase().includes(rest.words);
      if (isFound && !hasParts) rest.rows.push({ path, name: printable(path), text, level: 1, open: undefined });
      add(inner, path, level + 1, rest);
      continue;
    }
    const open = hasParts ? rest.opened.has(path) : undefined;
    rest.rows.push({ path, name: printable(key), text, level, open });
    if (open === true) add(inner, path, level + 1, rest);
  }
}

/** A member of an object; undefined where there is none. */
export function member(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, name)
    ? (value as Readonly<Record<string, unknown>>)[name]
    : undefined;
}

/** A value in one line. */
export function textOf(value: unknown): string {
  if (value === undefined) return "unknown";
  return printable(typeof value === "string" ? value : JSON.stringify(value));
}
