// What differs between two streams: section by section, field by field, with its place in each.

import type { FieldNode, Migration, RamBlock, Section } from "./model.ts";
import { fieldPath, sectionLabel } from "./paths.ts";

/** What differs. Append only: a kind is never removed, renamed or given another meaning, because programs compare with it. */
export type DifferenceKind =
  | "machine"
  | "capabilities"
  | "page-size"
  | "further-stream"
  | "section-only-in-a"
  | "section-only-in-b"
  | "section-version"
  | "section-size"
  | "field-only-in-a"
  | "field-only-in-b"
  | "subsection-only-in-a"
  | "subsection-only-in-b"
  | "type"
  | "length"
  | "value"
  | "block-only-in-a"
  | "block-only-in-b"
  | "block-length"
  | "block-address";

/** One difference between two streams, the first called a, the second b. */
export interface Difference {
  readonly kind: DifferenceKind;
  /** The section, as `sectionLabel` names it; "ram" for RAM blocks; "" for the stream as a whole. */
  readonly section: string;
  /**
   * The field inside the section, such as "parent_obj/config[4..6]" (bytes 4 to 6 of a buffer), or the name of a RAM block;
   * "" for the section as a whole.
   */
  readonly path: string;
  /** Undefined on the side that does not have it. */
  readonly a: DifferenceSide | undefined;
  /** Undefined on the side that does not have it. */
  readonly b: DifferenceSide | undefined;
}

/** What one of the two streams has there. */
export interface DifferenceSide {
  /** Byte offset in the input; undefined for what has no place. */
  readonly offset: number | undefined;
  /** What differs: a field's value, a type's name, a version, a length in bytes; undefined for a field with fields inside. */
  readonly value: unknown;
}

/**
 * Compares two streams. Sections are matched by name and instance, not by order or id, which have no meaning between
 * streams. Guest RAM is compared by its blocks, not by its content. An empty list: nothing differs. Of a stream that stopped
 * early, what was read is compared. Does not throw.
 */
export function diffMigrations(a: Migration, b: Migration): Difference[] {
  const found: Difference[] = [];
  whole(found, "machine", a.machine, b.machine);
  whole(found, "capabilities", a.configuration?.capabilities.join(), b.configuration?.capabilities.join());
  whole(found, "page-size", a.pageSize, b.pageSize);
  whole(found, "further-stream", a.trailing?.stream, b.trailing?.stream);
  diffBlocks(found, a.ram?.blocks ?? [], b.ram?.blocks ?? []);
  const inA = sectionsOf(a);
  const inB = sectionsOf(b);
  for (const [name, section] of inA) {
    const other = inB.get(name);
    if (other === undefined) {
      found.push({ kind: "section-only-in-a", section: name, path: "", a: sideOf(section), b: undefined });
    } else diffSection(found, name, section, other);
  }
  for (const [name, section] of inB) {
    if (!inA.has(name)) {
      found.push({ kind: "section-only-in-b", section: name, path: "", a: undefined, b: sideOf(section) });
    }
  }
  return found;
}

function whole(found: Difference[], kind: DifferenceKind, a: unknown, b: unknown): void {
  if (a === b) return;
  const side = (value: unknown) => (value === undefined ? undefined : { offset: undefined, value });
  found.push({ kind, section: "", path: "", a: side(a), b: side(b) });
}

function sideOf(section: Section): DifferenceSide {
  return { offset: section.offset, value: section.version };
}

/** START and FULL sections: they say all that PART and END do not. */
function sectionsOf(migration: Migration): Map<string, Section> {
  const sections = new Map<string, Section>();
  for (const section of migration.sections) {
    if (section.type !== "start" && section.type !== "full") continue;
    sections.set(sectionLabel(section), section);
  }
  return sections;
}

function diffBlocks(found: Difference[], a: readonly RamBlock[], b: readonly RamBlock[]): void {
  const section = "ram";
  const inA = new Set(a.map(({ name }) => name));
  const inB = new Map(b.map((block) => [block.name, block]));
  for (const block of a) {
    const path = block.name;
    const side = (one: RamBlock, value: unknown) => ({ offset: one.offset, value });
    const other = inB.get(block.name);
    if (other === undefined) {
      found.push({ kind: "block-only-in-a", section, path, a: side(block, block.usedLength), b: undefined });
      continue;
    }
    if (block.usedLength !== other.usedLength) {
      found.push({
        kind: "block-length",
        section,
        path,
        a: side(block, block.usedLength),
        b: side(other, other.usedLength),
      });
    }
    if (block.address !== other.address) {
      found.push({
        kind: "block-address",
        section,
        path,
        a: side(block, block.address),
        b: side(other, other.address),
      });
    }
  }
  for (const block of b) {
    if (inA.has(block.name)) continue;
    const side = { offset: block.offset, value: block.usedLength };
    found.push({ kind: "block-only-in-b", section, path: block.name, a: undefined, b: side });
  }
}

function diffSection(found: Difference[], name: string, a: Section, b: Section): void {
  if (a.version !== b.version) {
    found.push({ kind: "section-version", section: name, path: "", a: sideOf(a), b: sideOf(b) });
  }
  if (a.type !== "full" || b.type !== "full") return;
  if (a.device === undefined || b.device === undefined) {
    // Not decoded: only the length is known.
    if (a.bodySize === b.bodySize) return;
    const side = ({ bodyOffset, bodySize }: Section) => ({ offset: bodyOffset, value: bodySize });
    found.push({ kind: "section-size", section: name, path: "", a: side(a), b: side(b) });
    return;
  }
  diffFields(found, name, "", a.fields, b.fields);
}

function diffFields(
  found: Difference[],
  section: string,
  path: string,
  a: readonly FieldNode[],
  b: readonly FieldNode[],
): void {
  const inB = new Map(b.map((field) => [field.name, field]));
  for (const field of a) {
    const other = inB.get(field.name);
    if (other === undefined) found.push(only("a", section, path, field));
    else diffField(found, section, fieldPath(path, field.name), field, other);
  }
  const inA = new Set(a.map(({ name }) => name));
  for (const field of b) {
    if (!inA.has(field.name)) found.push(only("b", section, path, field));
  }
}

function only(side: "a" | "b", section: string, path: string, field: FieldNode): Difference {
  const kind = `${field.type === "subsection" ? "subsection" : "field"}-only-in-${side}` as const;
  const value = { offset: field.offset, value: field.value };
  const place = { kind, section, path: fieldPath(path, field.name) };
  return side === "a" ? { ...place, a: value, b: undefined } : { ...place, a: undefined, b: value };
}

function diffField(found: Difference[], section: string, path: string, a: FieldNode, b: FieldNode): void {
  const note = (kind: DifferenceKind, one: unknown, other: unknown, at = 0, more = "", otherAt = at) => {
    const sides = { a: { offset: a.offset + at, value: one }, b: { offset: b.offset + otherAt, value: other } };
    found.push({ kind, section, path: path + more, ...sides });
  };
  if (a.type !== b.type) {
    note("type", a.type, b.type);
    return;
  }
  if (a.fields !== undefined && b.fields !== undefined) {
    diffFields(found, section, path, a.fields, b.fields);
    return;
  }
  if (a.value instanceof Uint8Array && b.value instanceof Uint8Array) {
    const [one, other] = [a.value, b.value];
    if (one.length !== other.length) note("length", one.length, other.length);
    for (const [start, end] of runsThatDiffer(one, other)) {
      const place = end - start === 1 ? `[${start}]` : `[${start}..${end - 1}]`;
      note("value", one.subarray(start, end), other.subarray(start, end), start, place);
    }
    return;
  }
  if (Array.isArray(a.value) && Array.isArray(b.value)) {
    const [one, other]: [unknown[], unknown[]] = [a.value, b.value];
    if (one.length !== other.length) note("length", one.length, other.length);
    for (let i = 0; i < Math.min(one.length, other.length); i++) {
      if (!same(one[i], other[i])) {
        note("value", one[i], other[i], (i * a.size) / one.length, `[${i}]`, (i * b.size) / other.length);
      }
    }
    return;
  }
  if (a.fields !== undefined || b.fields !== undefined || !same(a.value, b.value)) note("value", a.value, b.value);
}

function same(a: unknown, b: unknown): boolean {
  if (a instanceof Uint8Array && b instanceof Uint8Array) {
    return a.length === b.length && a.every((byte, i) => byte === b[i]);
  }
  return Object.is(a, b);
}

function* runsThatDiffer(a: Uint8Array, b: Uint8Array): Generator<readonly [start: number, end: number]> {
  const length = Math.min(a.length, b.length);
  for (let at = 0; at < length; at++) {
    if (a[at] === b[at]) continue;
    const start = at;
    while (at < length && a[at] !== b[at]) at++;
    yield [start, at];
  }
}
