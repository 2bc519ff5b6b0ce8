// Which field has which bytes: what `cprkit inspect --hex` and the inspector's page show beside them.

import { counted } from "./text.ts";
import { valueText } from "./values.ts";

/** A run of bytes and what it is. */
export interface Span {
  readonly offset: number;
  /** 0 for a field that only holds others: those follow. */
  readonly size: number;
  /** What `--hex` writes beside it, without indentation. */
  readonly text: string;
  /** How deep it is nested; 0 for the outermost. */
  readonly depth: number;
  /** Of the field, from the outermost down; "" for what is not a field. */
  readonly path: string;
}

/** A field as {@link fieldSpans} takes it, outer ones before those inside. */
export interface SpanField {
  readonly offset: number;
  readonly size: number;
  readonly depth: number;
  readonly label: string;
  readonly type: string;
  readonly value: unknown;
  /** Other fields inside it follow: they have its bytes. */
  readonly hasParts: boolean;
  readonly path: string;
}

/**
 * Every byte from `start` to `end` once, with the field that has it. Fields come in order, outer ones first. `rest` names
 * what follows the last.
 */
export function* fieldSpans(
  { start, end, rest }: { readonly start: number; readonly end: number; readonly rest: string },
  fields: Iterable<SpanField>,
): Generator<Span, void, void> {
  let at = start;
  for (const { offset, size, depth, label, type, value, hasParts, path } of fields) {
    if (offset > at) yield { ...plainSpan(at, offset - at, "(mark)"), depth };
    const text = hasParts ? `${label} (${type})` : `${label}: ${fieldText(value)} (${type})`;
    yield { ...plainSpan(offset, hasParts ? 0 : size, text), depth, path };
    at = hasParts ? offset : offset + size;
  }
  if (at < end) yield plainSpan(at, end - at, rest);
}

/** Bytes that are not a field: a header, a mark. */
export function plainSpan(offset: number, size: number, text: string): Span {
  return { offset, size, text, depth: 0, path: "" };
}

/** A buffer's own bytes are beside it already. */
function fieldText(value: unknown): string {
  return value instanceof Uint8Array ? counted(value.length, "byte") : valueText(value);
}
