// Explains a stream: the same reader, with a hook that notes where every field stands.

import { type LoadOptions, load } from "./codec.ts";
import type { Description } from "./description.ts";
import type { Input, Observer } from "./wire/reader.ts";

/** Where a field, an element or a body stands. */
export interface Span {
  /** As in errors: "CprState/fds[3]/cpr fd/namelen". */
  readonly path: string;
  /** The type's name in QEMU's JSON description; of an element of a list its description's. */
  readonly type: string;
  /** Offset of its first byte in the stream. */
  readonly start: number;
  /** Offset after its last byte. */
  readonly end: number;
  readonly value: unknown;
  /** 0 for the outermost fields. */
  readonly depth: number;
}

/** What {@link trace} gives: the state, and a span for everything in it, in the order of the bytes; parents first. */
export interface Trace<State> {
  readonly state: State;
  readonly spans: readonly Span[];
}

/**
 * Loads as `load` does and tells where every field stands. Throws as `load` does; to keep the spans up to the fault,
 * give `load` the observer of {@link spanRecorder} instead.
 */
export function trace<State>(
  description: Description<State>,
  input: Input,
  options: Omit<LoadOptions<State>, "observer"> = {},
): Trace<State> {
  const { observer, spans } = spanRecorder(description.name);
  return { state: load(description, input, { ...options, observer }), spans };
}

/**
 * An observer that records spans, below `path`. A span that was not left, because loading failed in it, stays as it
 * was entered: its `end` is its `start` and its value undefined.
 */
export function spanRecorder(path: string): { readonly observer: Observer; readonly spans: readonly Span[] } {
  type Open = { -readonly [K in keyof Span]: Span[K] };
  const spans: Open[] = [];
  const open: { span: Open; inside: string }[] = [];
  const observer: Observer = {
    enter: (label, type, offset, within) => {
      const outer = open.at(-1)?.inside ?? path;
      const own = typeof label === "number" ? `${outer}[${label}]` : `${outer}/${label}`;
      const span: Open = { path: own, type, start: offset, end: offset, value: undefined, depth: open.length };
      spans.push(span);
      // A subsection is named by its description: no need to say it twice.
      open.push({ span, inside: within === undefined || type === "subsection" ? own : `${own}/${within}` });
    },
    leave: (offset, value) => {
      const done = open.pop();
      if (done === undefined) return;
      done.span.end = offset;
      done.span.value = value;
    },
  };
  return { observer, spans };
}
