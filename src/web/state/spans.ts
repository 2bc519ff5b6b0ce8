// Which part of the stream has a byte.

import { type StreamSpan, streamSpans } from "../../migration/spans.ts";
import type { Span } from "../../vmstate/shown/spans.ts";
import type { Opened, ShownMigration } from "../worker/protocol.ts";

/** A span with where it is in the stream's sections. */
interface PlacedSpan extends Span {
  /** Offset of the section that it is in; undefined outside of sections. */
  readonly section: number | undefined;
}

/** The spans of a file, to be found by byte or by field. */
export interface SpanIndex {
  /** The span that has the byte at `offset`; undefined where there is none. */
  at(offset: number): PlacedSpan | undefined;
  /** How far the last span reaches. */
  readonly end: number;
}

/** The spans of what was opened. */
export function spansOf({ migration, cpr, size }: Opened): SpanIndex {
  if (migration !== undefined) return index([...migrationSpans(migration, size)]);
  return cprIndex(cpr?.spans ?? []);
}

/** The spans of a CPR state. */
export function cprIndex(spans: readonly Span[]): SpanIndex {
  return index(spans.map((span) => ({ ...span, section: undefined })));
}

/** What follows is named, too: the rest of the JSON, what is behind the stream, and before it. */
function* migrationSpans(migration: ShownMigration, size: number): Generator<PlacedSpan> {
  if (migration.offset > 0) yield named(0, migration.offset, "(before the stream)");
  for (const span of streamSpans(migration)) yield placed(span);
  const { vmdescription, complete } = migration;
  if (complete && vmdescription !== undefined) {
    yield named(vmdescription.offset + 5, vmdescription.size - 5, "JSON description");
  }
  const end = migration.offset + migration.size;
  if (end < size) yield named(end, size - end, complete ? "(after the stream)" : "(not read)");
}

function placed({ section, ...span }: StreamSpan): PlacedSpan {
  return { ...span, section: section?.offset };
}

function named(offset: number, size: number, text: string): PlacedSpan {
  return { offset, size, text, depth: 0, path: "", section: undefined };
}

function index(all: readonly PlacedSpan[]): SpanIndex {
  // A feature bit has no byte of its own, and a structure's bytes are its fields'.
  const spans = all.filter(({ size }) => size > 0).sort((a, b) => a.offset - b.offset);
  return {
    at: (offset) => {
      let low = 0;
      let high = spans.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if ((spans[middle]?.offset ?? 0) <= offset) low = middle + 1;
        else high = middle;
      }
      const span = spans[low - 1];
      return span !== undefined && offset < span.offset + span.size ? span : undefined;
    },
    end: spans.reduce((end, { offset, size }) => Math.max(end, offset + size), 0),
  };
}
