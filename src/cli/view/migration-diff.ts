// Differences between two streams for people.

import type { Difference, DifferenceSide } from "../../migration/index.ts";
import { counted, grouped, printable } from "../../vmstate/shown/text.ts";
import { offsetText, valueText } from "../../vmstate/shown/values.ts";
import { fit } from "./fit.ts";

/** One line per difference, by section, and a summary. */
export function diffText(differences: readonly Difference[], ignored = 0): string {
  const rest = ignored === 0 ? "" : ` (${grouped(ignored)} of time left out)`;
  if (differences.length === 0) return `no difference${rest}\n`;
  const lines: string[] = [];
  let section: string | undefined;
  for (const one of differences) {
    if (one.section !== section) {
      section = one.section;
      lines.push(section === "" ? "stream" : printable(section));
    }
    lines.push(fit(`  ${line(one)}`, 6));
  }
  const sections = new Set(differences.map((one) => one.section)).size;
  lines.push("", `${counted(differences.length, "difference")} in ${counted(sections, "section")}${rest}`);
  return `${lines.join("\n")}\n`;
}

function line({ kind, path, a, b }: Difference): string {
  const name = path === "" ? kind : printable(path);
  if (kind.endsWith("-only-in-a")) return `- ${name}${at(a)}  only in the first${version(kind, a)}`;
  if (kind.endsWith("-only-in-b")) return `+ ${name}${at(b)}  only in the second${version(kind, b)}`;
  const what = path === "" || kind === "value" ? "" : ` (${kind})`;
  return `  ${name}${what}  ${text(a)} -> ${text(b)}${places(a, b)}`;
}

function version(kind: string, side: DifferenceSide | undefined): string {
  return kind.startsWith("section") ? ` (version ${String(side?.value)})` : "";
}

function text(side: DifferenceSide | undefined): string {
  if (side === undefined || side.value === undefined) return "none";
  return typeof side.value === "string" ? `"${printable(side.value)}"` : valueText(side.value);
}

function at(side: DifferenceSide | undefined): string {
  return side?.offset === undefined ? "" : ` at ${offsetText(side.offset)}`;
}

function places(a: DifferenceSide | undefined, b: DifferenceSide | undefined): string {
  if (a?.offset === undefined && b?.offset === undefined) return "";
  const place = (side: DifferenceSide | undefined) => (side?.offset === undefined ? "-" : offsetText(side.offset));
  return `  (at ${place(a)}, ${place(b)})`;
}
