// cprkit update: replaces the QEMU under a running guest, or finishes an update that was cut off.

import { readFileSync } from "node:fs";
import { Command, InvalidArgumentError, Option } from "commander";
import { shellQuoted } from "../../qemu/command-line/parse.ts";
import { findingCodes } from "../../qemu/finding.ts";
import type { CopyProgress, UpdateOptions, UpdatePlan, UpdateReport } from "../../qemu/update/options.ts";
import { planUpdate } from "../../qemu/update/plan.ts";
import { abortUpdate, type Recovery, resumeUpdate } from "../../qemu/update/recover.ts";
import type { UpdateStep } from "../../qemu/update/steps.ts";
import { updateVm } from "../../qemu/update/update.ts";
import type { UpdateModeName } from "../../qemu/vm/binary.ts";
import { CprkitError } from "../../vmstate/error.ts";
import { exitCodes } from "../exit-codes.ts";
import { interruptible } from "../interrupt.ts";
import { nearWords } from "../near.ts";
import { modeOption, wholeNumber } from "../options.ts";
import { print, printError, printJson, printWarning } from "../output.ts";
import { startProgress } from "../progress.ts";
import { table } from "../view/table.ts";
import { counted, printable } from "../view/text.ts";

interface UpdateCommandOptions {
  readonly qmp?: string;
  readonly pid?: number;
  readonly qemu?: string;
  readonly mode?: UpdateModeName;
  readonly allowCopy?: true;
  readonly maxDowntime?: number;
  readonly maxBandwidth?: number;
  readonly copyTimeout?: number;
  readonly timeout?: number;
  readonly stateDir?: string;
  readonly allow?: readonly string[];
  readonly waitForJobs?: number;
  readonly beforePause?: string;
  readonly onSuccess?: string;
  readonly onFailure?: string;
  readonly vncPasswordFile?: string;
  readonly spicePasswordFile?: string;
  readonly dryRun?: true;
  readonly resume?: true;
  readonly abort?: true;
  readonly json?: true;
}

export function updateCommand(): Command {
  return new Command("update")
    .description("Replace the QEMU under a running guest. Until the new one runs the guest, any failure rolls back.")
    .argument("[command...]", "after --: the whole new command line, in place of the derived one")
    .addOption(new Option("--qmp <path>", "the VM, by the path of its QMP socket"))
    .addOption(new Option("--pid <pid>", "the VM, by its process id").argParser(wholeNumber(1, 2 ** 22)))
    .addOption(new Option("--qemu <program>", "the new QEMU (default: the program that runs now)"))
    .addOption(
      modeOption("how (default: the first of cpr-transfer, cpr-exec, copy that works; copy: see --allow-copy)"),
    )
    .addOption(
      new Option("--allow-copy", "copy the guest's RAM if nothing else works: costs its memory once more, and time"),
    )
    .addOption(
      new Option("--max-downtime <ms>", "with copy: longest pause of the guest").argParser(wholeNumber(1, 2_000_000)),
    )
    .addOption(new Option("--max-bandwidth <MiB>", "with copy: MiB a second").argParser(wholeNumber(1, 2 ** 20)))
    .addOption(
      new Option("--copy-timeout <seconds>", "with copy: longest time for it; then it is rolled back").argParser(
        wholeNumber(1, 604_800),
      ),
    )
    .addOption(new Option("--timeout <seconds>", "longest wait for each step").argParser(wholeNumber(1, 86_400)))
    .addOption(new Option("--state-dir <folder>", "where journals and logs are kept"))
    .addOption(new Option("--allow <code...>", "go on despite the findings with these codes").argParser(allowCode))
    .addOption(
      new Option("--wait-for-jobs <seconds>", "wait so long for block jobs that are under way").argParser(
        wholeNumber(1, 86_400 * 7),
      ),
    )
    .addOption(new Option("--before-pause <command>", "run this just before the guest stops; if it fails, roll back"))
    .addOption(new Option("--on-success <command>", "run this after the update"))
    .addOption(new Option("--on-failure <command>", "run this after a failure, when the guest is settled"))
    .addOption(new Option("--vnc-password-file <file>", "its first line is the new QEMU's VNC password"))
    .addOption(new Option("--spice-password-file <file>", "the same for SPICE"))
    .addOption(new Option("--dry-run", "only show the new command line and what is in the way"))
    .addOption(new Option("--resume", "finish an update that was cut off").conflicts(["abort", "dryRun"]))
    .addOption(new Option("--abort", "take an update that was cut off back, if it is not too late").conflicts("dryRun"))
    .addOption(new Option("--json", "print the result as JSON"))
    .addHelpText(
      "after",
      `
Examples:
  $ cprkit update --qmp /run/vm1/qmp.sock --qemu /opt/qemu-11.1/bin/qemu-system-x86_64 --dry-run
  $ cprkit update --qmp /run/vm1/qmp.sock --qemu /opt/qemu-11.1/bin/qemu-system-x86_64
  $ cprkit update --pid 4711 --mode cpr-exec -- /usr/bin/qemu-system-x86_64 -machine …

Exit code: 0 done, 1 --dry-run found a blocker or --abort came too late (the update was finished), 4 refused or rolled
back: the last line says where the guest is. \`cprkit status\` says it at any time.`,
    )
    .action((command: string[], options: UpdateCommandOptions) =>
      interruptible((signal) => runUpdate(command, options, signal)),
    );
}

const stepTexts: Readonly<Record<UpdateStep, string>> = {
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

/** A password, which does not belong on a command line. @throws CprkitError ERR_FILE */
function firstLine(path: string | undefined): string | undefined {
  if (path === undefined) return undefined;
  try {
    return readFileSync(path, "utf8").split(/\r?\n/)[0];
  } catch (cause) {
    throw new CprkitError("ERR_FILE", `${path}, the file with a password, can't be read: ${String(cause)}`, { cause });
  }
}

/** A code that is not known would allow nothing, unnoticed. Throws InvalidArgumentError. */
function allowCode(code: string, before: readonly string[] = []): readonly string[] {
  const known = Object.keys(findingCodes);
  if (known.includes(code)) return [...before, code];
  const near = nearWords(code, known);
  const hint = near.length === 0 ? "docs/preflight.md has the list" : `did you mean ${near.join(" or ")}?`;
  throw new InvalidArgumentError(`there is no finding with this code; ${hint}`);
}

async function runUpdate(command: string[], options: UpdateCommandOptions, signal: AbortSignal): Promise<void> {
  const { qmp, pid, json } = options;
  if (qmp === undefined && pid === undefined) {
    throw new CprkitError("ERR_USAGE", "no VM named: give --qmp PATH or --pid PID");
  }
  const progress = startProgress("looking at the VM", json === true);
  const target = { qmp, pid };
  const request: UpdateOptions = {
    qemu: options.qemu,
    command: command.length === 0 ? undefined : command,
    mode: options.mode,
    allowCopy: options.allowCopy,
    maxDowntimeMs: options.maxDowntime,
    maxBandwidth: options.maxBandwidth === undefined ? undefined : options.maxBandwidth * 2 ** 20,
    copyTimeoutMs: options.copyTimeout === undefined ? undefined : options.copyTimeout * 1000,
    onCopy: (copied) => progress.step(copyText(copied)),
    timeoutMs: options.timeout === undefined ? undefined : options.timeout * 1000,
    stateDir: options.stateDir,
    allow: options.allow,
    waitForJobsMs: options.waitForJobs === undefined ? undefined : options.waitForJobs * 1000,
    onWait: (text) => progress.step(text),
    hooks: { beforePause: options.beforePause, onSuccess: options.onSuccess, onFailure: options.onFailure },
    passwords: { vnc: firstLine(options.vncPasswordFile), spice: firstLine(options.spicePasswordFile) },
    signal,
    onStep: (step) => progress.step(stepTexts[step]),
    onPlan: ({ mode, ways }) => {
      if (options.mode !== undefined || mode === "cpr-transfer" || json === true) return;
      const why = ways.find((way) => way.mode === "cpr-transfer")?.blockers ?? [];
      printError(`by ${mode}: cpr-transfer does not work here (${why.join(", ")})`);
    },
  };
  try {
    if (options.dryRun === true) showPlan(await planUpdate(target, request), json === true);
    else if (options.resume === true) showRecovery(await resumeUpdate(target, request), json === true, false);
    else if (options.abort === true) showRecovery(await abortUpdate(target, request), json === true, true);
    else showReport(await updateVm(target, request), json === true);
  } finally {
    progress.stop();
  }
}

function showPlan(plan: UpdatePlan, json: boolean): void {
  const blocked = plan.findings.some(({ severity }) => severity === "blocker");
  if (blocked) process.exitCode = exitCodes.finding;
  if (json) {
    printJson(plan);
    return;
  }
  const lines = [
    `# QEMU ${plan.from} (pid ${plan.pid}) to QEMU ${plan.to}, ${plan.mode}`,
    ...plan.findings.map(({ severity, code, message, remedy }) => `# ${severity} [${code}] ${message}; ${remedy}`),
    ...plan.carried.map(({ what }) => `# carried: ${what}`),
    shellQuoted(plan.command),
  ];
  print(`${lines.map(printable).join("\n")}\n`);
}

function showRecovery(recovery: Recovery, json: boolean, wantedBack: boolean): void {
  if (recovery.outcome === "lost") process.exitCode = exitCodes.refused;
  else if (recovery.outcome === "outdated" || (wantedBack && recovery.outcome === "updated"))
    process.exitCode = exitCodes.finding;
  if (json) {
    printJson(recovery);
    return;
  }
  for (const warning of recovery.warnings) printWarning(printable(warning));
  if (recovery.report !== undefined) {
    showReport(recovery.report, json);
    return;
  }
  if (recovery.outcome === "outdated") {
    print(`outdated: ${printable(recovery.why)}\n`);
    return;
  }
  const where = recovery.pid === undefined ? "no QEMU runs the guest" : `pid ${recovery.pid} has the guest`;
  const late = wantedBack && recovery.outcome === "updated" ? " (too late to take it back)" : "";
  print(`${recovery.outcome}${late}: ${where}; ${printable(recovery.why)}\n`);
}

/** "copying RAM: 812 of 4096 MiB left, 1204 MiB/s, the guest writes 35 MiB/s, about 1 s". */
function copyText(copied: CopyProgress): string {
  const mib = (bytes: number) => String(Math.round(bytes / 2 ** 20));
  const left = copied.leftMs === undefined ? "no end yet" : `about ${Math.ceil(copied.leftMs / 1000)} s`;
  const slow = copied.throttle === 0 ? "" : `, slowed down by ${copied.throttle} %`;
  return (
    `copying RAM: ${mib(copied.remaining)} of ${mib(copied.total)} MiB left, ${mib(copied.bytesPerSecond)} MiB/s, ` +
    `the guest writes ${mib(copied.dirtyBytesPerSecond)} MiB/s${slow}, ${left}`
  );
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
  return lines.map((line) => `${printable(line)}\n`).join("");
}

function showReport(report: UpdateReport, json: boolean): void {
  if (json) {
    printJson(report);
    return;
  }
  for (const warning of report.warnings) printWarning(printable(warning));
  const { from, to, pid, sourcePid, mode, downtimeMs, totalMs, fds } = report;
  const rows = report.phases.map(({ step, ms }) => [step, ms.toFixed(1)]);
  print(table(["STEP", "MS"], rows, ["MS"]));
  const whyNone =
    report.resumeUs === undefined ? "not measured (the guest was paused)" : "not known (the clock was set)";
  const downtime = downtimeMs === undefined ? whyNone : `${downtimeMs.toFixed(1)} ms`;
  const carried = fds === undefined ? "" : `, ${counted(fds.length, "fd")} carried`;
  print(comparisonText(report));
  print(
    `QEMU ${printable(from)} (pid ${sourcePid}) -> ${printable(to)} (pid ${pid}), ${mode}: downtime ${downtime}, ` +
      `total ${totalMs.toFixed(0)} ms${carried}\nThe guest is ${printable(report.runState)}; QMP at ${printable(report.qmp)}\n`,
  );
}
