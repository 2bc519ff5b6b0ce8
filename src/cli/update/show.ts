// What `cprkit update` says: plans, steps, reports.

import { shellQuoted } from "../../qemu/command-line/parse.ts";
import type { CopyProgress, UpdatePlan, UpdateReport } from "../../qemu/update/options.ts";
import type { UpdateStep } from "../../qemu/update/steps.ts";
import { counted, printable } from "../../vmstate/shown/text.ts";
import { print, printJson, printWarning } from "../output.ts";
import { fit } from "../view/fit.ts";
import { table } from "../view/table.ts";

/** What is being done when a step has been reached. */
export const stepTexts: Readonly<Record<UpdateStep, string>> = {
  inspected: "asking the new QEMU",
  planned: "locking",
  locked: "writing the journal",
  journalled: "preparing the old QEMU",
  rehearsed: "preparing QEMU for the exec",
  "source-set": "starting the new QEMU",
  started: "waiting for the new QEMU to listen",
  listening: "carrying the fds over",
  migrating: "carrying the fds over",
  "state-passed": "waiting for the new QEMU to build the machine",
  "destination-ready": "about to stop the guest",
  "before-switch": "handing the guest over",
  switching: "handing the guest over",
  stopped: "handing the guest over",
  saved: "loading the state",
  loading: "loading the state",
  replaced: "waiting for the new program",
  running: "ending the old QEMU",
  "source-ended": "handing the names over",
  "names-handed-over": "tidying up",
  done: "done",
};

/** A plan for people. */
export function planText(plan: UpdatePlan): string {
  const lines = [
    `# QEMU ${plan.from} (pid ${plan.pid}) to QEMU ${plan.to}, ${plan.mode}`,
    ...plan.findings.map(({ severity, code, message, remedy }) => `# ${severity} [${code}] ${message}; ${remedy}`),
    ...plan.carried.map(({ what }) => `# carried: ${what}`),
    shellQuoted(plan.command),
  ];
  return `${lines.map(printable).join("\n")}\n`;
}

/** "copying RAM: 812 of 4096 MiB left, 1204 MiB/s, the guest writes 35 MiB/s, about 1 s". */
export function copyText(copied: CopyProgress): string {
  const mib = (bytes: number) => String(Math.round(bytes / 2 ** 20));
  const left = copied.leftMs === undefined ? "no end yet" : `about ${Math.ceil(copied.leftMs / 1000)} s`;
  const slow = copied.throttle === 0 ? "" : `, slowed down by ${copied.throttle} %`;
  return (
    `copying RAM: ${mib(copied.remaining)} of ${mib(copied.total)} MiB left, ${mib(copied.bytesPerSecond)} MiB/s, ` +
    `the guest writes ${mib(copied.dirtyBytesPerSecond)} MiB/s${slow}, ${left}`
  );
}

/** Prints what an update has done. */
export function showReport(report: UpdateReport, json: boolean): void {
  if (json) {
    printJson(report);
    return;
  }
  for (const warning of report.warnings) printWarning(printable(warning));
  for (const line of report.said) printWarning(`the new QEMU says: ${printable(line)}`);
  const { from, to, pid, sourcePid, mode, downtimeMs, totalMs, fds } = report;
  const rows = report.phases.map(({ step, ms }) => [step, ms.toFixed(1)]);
  print(table(["STEP", "MS"], rows, ["MS"]));
  const whyNone =
    report.resumeUs === undefined ? "not measured (the guest was paused)" : "not known (the clock was set)";
  const downtime = downtimeMs === undefined ? whyNone : `${downtimeMs.toFixed(1)} ms`;
  const carried = fds === undefined ? "" : `, ${counted(fds.length, "fd")} carried`;
  print(comparisonText(report));
  const what =
    `QEMU ${printable(from)} (pid ${sourcePid}) -> ${printable(to)} (pid ${pid}), ${mode}: downtime ${downtime}, ` +
    `total ${totalMs.toFixed(0)} ms${carried}`;
  print(`${fit(what, 2)}\nThe guest is ${printable(report.runState)}; QMP at ${printable(report.qmp)}\n`);
}

/** What was carried beside QEMU's own state, and how sure it is that nothing else has changed. */
function comparisonText({ carried, comparison: { before, after } }: UpdateReport): string {
  const lines = carried.map(({ what }) => `Carried: ${what}`);
  const last = after ?? before;
  if (last !== undefined) {
    const { compared, differences, expected } = last;
    const when = after === undefined ? "before the guest stopped" : "before and after";
    const found = differences.length === 0 ? "nothing differs" : `${counted(differences.length, "value")} differ`;
    lines.push(`Compared ${when}: ${counted(compared, "value")}; ${found}, but for ${expected.length} by design`);
  }
  return lines.map((line) => `${fit(printable(line), 2)}\n`).join("");
}
