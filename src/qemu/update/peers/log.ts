// What the new QEMU, or a trial of it, has written to its log.

import { readFileSync } from "node:fs";
import { explainLog } from "../../../migration/explain/explain.ts";
import { saysSignal } from "../../attributes/parent.ts";

/** Its last lines, as one, and what they mean if it could not load the guest. */
export function lastLines(log: string): string {
  const lines = linesOf(log).filter((line) => !saysSignal.test(line));
  return [lines.slice(-3).join(" | ").slice(-600), ...meaning(lines.slice(-20))].join(". ");
}

/** Why the load failed, if the lines say so: one failed load takes a handful. */
function meaning(lines: readonly string[]): string[] {
  const reason = explainLog(lines.join("\n")).at(-1);
  if (reason === undefined || reason.code === "unknown") return [];
  const { section, what, why, remedy } = reason;
  return [`This means: ${section === undefined ? "" : `${section}: `}${what}; ${why}; ${remedy}`];
}

export function lastLine(log: string): string {
  return linesOf(log).at(-1) ?? "";
}

/** What QEMU has reported there, each once: lines that begin with its name. What a guest has written is not among them. */
export function reported(log: string): string[] {
  const lines = linesOf(log).filter((line) => fromQemu.test(line) && !ownDoing.test(line));
  return [...new Set(lines.map((line) => line.replace(fromQemu, "").slice(0, 300)))].slice(0, 20);
}

/** With the time of -msg timestamp=on. */
const fromQemu = /^(\d{4}-\d\S*Z )?[\w.+/-]*qemu[\w.+-]*: /;
/** QEMU 11.1 of a monitor that cprkit, or -qmp, has written; and how it was ended, if it was a trial. */
const ownDoing = /'-mon' is deprecated|: terminating on signal /;

function linesOf(log: string): string[] {
  try {
    return readFileSync(log, "utf8").trim().split("\n");
  } catch {
    return [];
  }
}
