// A CPR state for people: its entries in a table, or its bytes with their fields.

import { type CprReport, reportCprState } from "../../cpr/index.ts";
import { cprSpans } from "../../cpr/spans.ts";
import { counted, jsonLine, printable } from "../../vmstate/shown/text.ts";
import { fit } from "./fit.ts";
import { hexDump } from "./hex.ts";
import { table } from "./table.ts";

export interface CprViewOptions {
  readonly json?: boolean;
  readonly hex?: boolean;
}

/** The text that `cprkit inspect` prints for a CPR state. Throws as reportCprState. */
export function showCprState(bytes: Uint8Array, options: CprViewOptions): string {
  if (options.json === true) return `${jsonLine(reportCprState({ bytes }))}\n`;
  if (options.hex !== true) return summary(reportCprState({ bytes }));
  const dump = hexDump((offset, length) => bytes.subarray(offset, offset + length), 6);
  return cprSpans(bytes)
    .map(({ offset, size, text, depth }) => dump(offset, size, text, depth))
    .join("");
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
  return `${lines.map((line) => fit(line, 2)).join("\n")}\n${rows.length === 0 ? "" : `\n${table(head, rows, ["ID", "OFFSET", "FD"])}`}`;
}
