// A CPR state for people: its entries in a table, or its bytes with the fields beside them.

import { type CprReport, reportCprState } from "../../cpr/index.ts";
import { spanRecorder } from "../../vmstate/trace.ts";
import { annotated } from "./hex.ts";
import { table } from "./table.ts";
import { counted, printable } from "./text.ts";

export interface CprViewOptions {
  readonly json?: boolean;
  readonly hex?: boolean;
}

/** The text that `cprkit inspect` prints for a CPR state. Throws as reportCprState. */
export function showCprState(bytes: Uint8Array, options: CprViewOptions): string {
  if (options.json === true) return `${JSON.stringify(reportCprState({ bytes }))}\n`;
  if (options.hex !== true) return summary(reportCprState({ bytes }));
  const { observer, spans } = spanRecorder("CprState");
  reportCprState({ bytes }, observer);
  return annotated(bytes, spans);
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
    report.fds.length === 0 ? "" : numbered ? ", cpr-exec (fds by number)" : ", cpr-transfer (fds passed beside it)";
  const lines = [
    `CPR state, ${report.abi} ABI, ${counted(report.bytes, "byte")}, ${counted(report.fds.length, "fd")}${form}`,
    ...report.subsections.map(({ name, offset, devices }) => {
      const what =
        devices === null
          ? "no list (built without iommufd)"
          : devices.length === 0
            ? "empty"
            : devices.map((device) => printable(device.name)).join(", ");
      return `subsection "${name}" at 0x${offset.toString(16)}: ${what}`;
    }),
    ...report.warnings.map((warning) => `warning: ${printable(warning)}`),
  ];
  return `${lines.join("\n")}\n${rows.length === 0 ? "" : `\n${table(head, rows, ["ID", "OFFSET", "FD"])}`}`;
}
