// A CPR state for people: its entries in a table, or its bytes with their fields.

import { type CprReport, reportCprState } from "../../cpr/index.ts";
import { type Span, spanRecorder } from "../../vmstate/trace.ts";
import { type HexField, hexDump, hexFields } from "./hex.ts";
import { table } from "./table.ts";
import { counted, jsonLine, printable } from "./text.ts";

export interface CprViewOptions {
  readonly json?: boolean;
  readonly hex?: boolean;
}

/** The text that `cprkit inspect` prints for a CPR state. Throws as reportCprState. */
export function showCprState(bytes: Uint8Array, options: CprViewOptions): string {
  if (options.json === true) return `${jsonLine(reportCprState({ bytes }))}\n`;
  if (options.hex !== true) return summary(reportCprState({ bytes }));
  const { observer, spans } = spanRecorder("CprState");
  reportCprState({ bytes }, observer);
  const dump = hexDump((offset, length) => bytes.subarray(offset, offset + length), 6);
  const whole = { start: 0, end: bytes.length, rest: "(end)" };
  return [...hexFields(dump, whole, spans.map(hexFieldOf))].join("");
}

function hexFieldOf(span: Span, index: number, spans: readonly Span[]): HexField {
  const { start, end, type, value, depth } = span;
  const hasParts = (spans[index + 1]?.depth ?? 0) > depth;
  return { offset: start, size: end - start, depth, label: label(span), type, value, hasParts };
}

/** The last part of the path: "namelen", or "[3]" for an element; of a subsection, whose name has slashes, all below the root. */
function label({ path, type }: Span): string {
  return type === "subsection" ? path.slice(path.indexOf("/") + 1) : (/(\[\d+\]|[^/[\]]+)$/.exec(path)?.[0] ?? path);
}

function summary(report: CprReport): string {
  const numbered = report.fds.some(({ fd }) => fd !== null);
  const head = ["NAME", "ID", "OFFSET", ...(numbered ? ["FD"] : [])];
  const rows = report.fds.map(({ name, id, offset, fd }) => [
    printable(name),
    String(id),
    `0x${offset.toString(16)}`,
    ...(numbered ? [fd === null ? "" : String(fd)] : []),
  ]);
  const form =
    report.fds.length === 0 ? "" : numbered ? ", cpr-exec (fds by number)" : ", cpr-transfer (fds passed separately)";
  const lines = [
    `CPR state, ${report.abi} ABI, ${counted(report.bytes, "byte")}, ${counted(report.fds.length, "fd")}${form}`,
    ...report.subsections.map(({ name, offset, devices }) => {
      const what =
        devices === null
          ? "no list (built without iommufd)"
          : devices.length === 0
            ? "empty"
            : devices.map((device) => printable(device.name)).join(", ");
      return `subsection "${printable(name)}" at 0x${offset.toString(16)}: ${what}`;
    }),
    ...report.warnings.map((warning) => `warning: ${printable(warning)}`),
  ];
  return `${lines.join("\n")}\n${rows.length === 0 ? "" : `\n${table(head, rows, ["ID", "OFFSET", "FD"])}`}`;
}
