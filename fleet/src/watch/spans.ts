// Spans of OpenTelemetry's API: without an SDK in the process (`node --import`) they cost nothing and go nowhere. Between
// processes a span's name goes through the ledger, as W3C's traceparent: data only, whose form is looked at.

import { type Context, context, isSpanContextValid, type Span, SpanStatusCode, trace } from "@opentelemetry/api";

export type { Span };

const tracer = trace.getTracer("cprkit-fleet");
type Attributes = Readonly<Record<string, string | number>>;

/** Runs `work` in a span; what it throws is the span's error. @param parent a traceparent of another process */
export function inSpan<T>(
  name: string,
  attributes: Attributes,
  work: (span: Span) => Promise<T>,
  parent?: string,
): Promise<T> {
  return tracer.startActiveSpan(name, { attributes }, under(parent), async (span) => {
    try {
      return await work(span);
    } catch (error) {
      span.recordException(error instanceof Error ? error : String(error));
      failSpan(span, error instanceof Error ? error.message : String(error));
      throw error;
    } finally {
      span.end();
    }
  });
}

/** A span that its caller ends. @param parent a traceparent; the span is the first of its trace without one */
export function beginSpan(name: string, attributes: Attributes, parent?: string): Span {
  return tracer.startSpan(name, { attributes, root: parent === undefined }, under(parent));
}

export function failSpan(span: Span, message: string): void {
  span.setStatus({ code: SpanStatusCode.ERROR, message });
}

/** What another process names as the parent; undefined when there is no SDK, or it does not record this. */
export function traceparentOf(span: Span): string | undefined {
  const { traceId, spanId, traceFlags } = span.spanContext();
  if (!isSpanContextValid(span.spanContext())) return undefined;
  return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, "0")}`;
}

function under(parent: string | undefined): Context {
  const [, traceId, spanId, flags = "0"] = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/.exec(parent ?? "") ?? [];
  if (traceId === undefined || spanId === undefined) return context.active();
  const found = { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & 1, isRemote: true };
  return isSpanContextValid(found) ? trace.setSpanContext(context.active(), found) : context.active();
}

/** Spans of an update's steps under `parent`, each from the step before to this one. */
export function stepSpans(parent: Span): {
  readonly reached: (step: string) => void;
  /** What came after the last step did not work. */
  readonly failed: (message: string) => void;
} {
  const at = trace.setSpan(context.active(), parent);
  let [since, last] = [Date.now(), "begin"];
  const from = (name: string) => tracer.startSpan(name, { startTime: since }, at);
  return {
    reached: (step) => {
      const now = Date.now();
      from(step).end(now);
      [since, last] = [now, step];
    },
    failed: (message) => {
      const span = from(`after ${last}`);
      failSpan(span, message);
      span.end();
    },
  };
}
