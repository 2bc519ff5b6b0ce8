// Spans of OpenTelemetry's API: without an SDK in the process (`node --import`) they cost nothing and go nowhere.

import { type Span, SpanStatusCode, trace } from "@opentelemetry/api";

const tracer = trace.getTracer("cprkit-fleet");

/** Runs `work` in a span; what it throws is the span's error. */
export function inSpan<T>(
  name: string,
  attributes: Readonly<Record<string, string | number>>,
  work: (span: Span) => Promise<T>,
): Promise<T> {
  return tracer.startActiveSpan(name, { attributes }, async (span) => {
    try {
      return await work(span);
    } catch (error) {
      span.recordException(error instanceof Error ? error : String(error));
      span.setStatus({ code: SpanStatusCode.ERROR });
      throw error;
    } finally {
      span.end();
    }
  });
}

/** A span for each step of an update: from the step before to this one. */
export function stepSpans(): (step: string) => void {
  let since = Date.now();
  return (step) => {
    const now = Date.now();
    tracer.startSpan(step, { startTime: since }).end(now);
    since = now;
  };
}
