// The fields of a CPR state by their bytes.

import { fieldSpans, type Span as ShownSpan, type SpanField } from "../vmstate/shown/spans.ts";
import { type Span, spanRecorder } from "../vmstate/trace.ts";
import { reportCprState } from "./report.ts";

/** Every byte of the stream once, with the field that has it. Throws as `reportCprState`. */
export function cprSpans(bytes: Uint8Array): ShownSpan[] {
  const { observer, spans } = spanRecorder("CprState");
  reportCprState({ bytes }, observer);
  return [...fieldSpans({ start: 0, end: bytes.length, rest: "(end)" }, spans.map(spanField))];
}

function spanField(span: Span, index: number, spans: readonly Span[]): SpanField {
  const { path, start, end, type, value, depth } = span;
  const hasParts = (spans[index + 1]?.depth ?? 0) > depth;
  return { offset: start, size: end - start, depth, label: label(span), type, value, hasParts, path };
}

/** The last part of the path: "namelen", or "[3]" for an element; of a subsection, whose name has slashes, all below the root. */
function label({ path, type }: Span): string {
  return type === "subsection" ? path.slice(path.indexOf("/") + 1) : (/(\[\d+\]|[^/[\]]+)$/.exec(path)?.[0] ?? path);
}
