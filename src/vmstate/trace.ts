// Explains a stream: the same reader, with a hook that notes where every field is.

import { type LoadOptions, load } from "./codec.ts";
import type { Description } from "./description.ts";
import type { Input, Observer } from "./wire/reader.ts";

/** Where a field, an element or a body is. */
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
 * Loads as `load` does and tells where every field is. Throws as `load` does; to keep the spans up to the fault,
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
  const { observer } = collector<{ readonly span: Open; readonly inside: string }>(
    (outer, label, type, offset, within) => {
      const above = outer?.inside ?? path;
      const own = typeof label === "number" ? `${above}[${label}]` : `${above}/${label}`;
      const depth = outer === undefined ? 0 : outer.span.depth + 1;
      const span: Open = { path: own, type, start: offset, end: offset, value: undefined, depth };
      spans.push(span);
      // A subsection is named by its description: it is not repeated.
      return { span, inside: within === undefined || type === "subsection" ? own : `${own}/${within}` };
    },
    ({ span }, offset, value) => {
      span.end = offset;
      span.value = value;
    },
  );
  return { observer, spans };
}

/**
 * An observer that keeps what `begin` makes of each field until the field is left, and then gives it to `end`. `outer`
 * is what was made of the field around it. Memory grows with the nesting only, unless `begin` and `end` keep more.
 * `open` holds the fields that were not left yet, outermost first: after an error, those in which it happened.
 */
export function collector<Node>(
  begin: (outer: Node | undefined, ...entered: Parameters<Observer["enter"]>) => Node,
  end: (node: Node, ...left: Parameters<Observer["leave"]>) => void,
): { readonly observer: Observer; readonly open: readonly Node[] } {
  const open: Node[] = [];
  const observer: Observer = {
    enter: (label, type, offset, within) => {
      open.push(begin(open.at(-1), label, type, offset, within));
    },
    leave: (offset, value) => {
      const node = open.pop();
      if (node !== undefined) end(node, offset, value);
    },
  };
  return { observer, open };
}
