// A CPR state for the page: its report, its fields by their bytes, and both ABIs. Of a damaged one, what came before.

import { detectCprAbi, loadCprState, type ReportedFd, reportCprState, saveCprState } from "../../cpr/index.ts";
import { cprSpans } from "../../cpr/spans.ts";
import { type CprkitError, isCprkitError } from "../../vmstate/error.ts";
import { fieldSpans } from "../../vmstate/shown/spans.ts";
import { type Span, spanRecorder } from "../../vmstate/trace.ts";
import { unknownFd } from "../../vmstate/wire/reader.ts";
import type { ShownCpr } from "./protocol.ts";

/** Throws for what is not a CPR state; what is wrong in one is told. */
export function shownCpr(bytes: Uint8Array): { readonly cpr: ShownCpr; readonly damage: CprkitError | undefined } {
  try {
    const { state, fdForm } = loadCprState({ bytes });
    const written = (abi: "list" | "hash") => {
      const saved = saveCprState(state, { abi, fdForm }).bytes;
      return { bytes: saved, spans: cprSpans(saved) };
    };
    const report = reportCprState({ bytes });
    return {
      cpr: { report, bytes, spans: cprSpans(bytes), written: { list: written("list"), hash: written("hash") } },
      damage: undefined,
    };
  } catch (error) {
    if (!isCprkitError(error)) throw error;
    return { cpr: beginning(bytes), damage: error };
  }
}

/** What can be read. Throws if not even the ABI can be told. */
function beginning(bytes: Uint8Array): ShownCpr {
  const { abi } = detectCprAbi(bytes);
  const { observer, spans } = spanRecorder("CprState");
  try {
    loadCprState({ bytes }, { observer });
  } catch (error) {
    if (!isCprkitError(error)) throw error;
  }
  const whole = spans.filter(({ start, end }) => end > start);
  const fields = whole.map((span, index) => ({
    offset: span.start,
    size: span.end - span.start,
    depth: span.depth,
    label: labelOf(span),
    type: span.type,
    value: span.value,
    hasParts: (whole[index + 1]?.depth ?? 0) > span.depth,
    path: span.path,
  }));
  return {
    report: { format: "qcpr", version: 1, abi, bytes: bytes.length, fds: fdsOf(whole), subsections: [], warnings: [] },
    bytes,
    spans: [...fieldSpans({ start: 0, end: bytes.length, rest: "(not read)" }, fields)],
    written: undefined,
  };
}

function labelOf({ path }: Span): string {
  return /(\[\d+\]|[^/[\]]+)$/.exec(path)?.[0] ?? path;
}

function fdsOf(spans: readonly Span[]): ReportedFd[] {
  const fds: ReportedFd[] = [];
  let name = "";
  let id = 0;
  for (const span of spans) {
    const label = labelOf(span);
    if (label === "name") name = String(span.value);
    else if (label === "id") id = Number(span.value);
    else if (span.type === "fd") {
      fds.push({ name, id, offset: span.start, fd: span.value === unknownFd ? null : Number(span.value) });
    }
  }
  return fds;
}
