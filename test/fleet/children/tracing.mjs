// Loaded into a process of the fleet before all else (node --import): a real SDK of OpenTelemetry, which writes each span
// that has ended as a line of JSON on standard output.

import { trace } from "@opentelemetry/api";
import { BasicTracerProvider, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";

delete process.env.NODE_OPTIONS;
const exporter = {
  export: (spans, done) => {
    for (const span of spans) {
      const { traceId, spanId } = span.spanContext();
      const parent = span.parentSpanContext?.spanId;
      const { name, attributes, status } = span;
      process.stdout.write(`${JSON.stringify({ event: "span", name, traceId, spanId, parent, attributes, status })}\n`);
    }
    done({ code: 0 });
  },
  shutdown: async () => {},
};
trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }));
