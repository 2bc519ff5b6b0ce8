// cprkit update: replaces the QEMU under a running guest, or finishes an update that was cut off.

import { readFileSync } from "node:fs";
import { Command, InvalidArgumentError, Option } from "commander";
import { findingCodes, isBlocker } from "../../qemu/finding.ts";
import type { UpdateOptions, UpdatePlan } from "../../qemu/update/options.ts";
import { planUpdate } from "../../qemu/update/plan.ts";
import { abortUpdate, type Recovery, resumeUpdate } from "../../qemu/update/recover.ts";
import { updateVm } from "../../qemu/update/update.ts";
import type { UpdateModeName } from "../../qemu/vm/binary.ts";
import type { VmTarget } from "../../qemu/vm/open.ts";
import { CprkitError } from "../../vmstate/error.ts";
import { exitCodes } from "../exit-codes.ts";
import { interruptible } from "../interrupt.ts";
import { nearWords } from "../near.ts";
import { modeOption, wholeNumber } from "../options.ts";
import { print, printError, printJson, printWarning } from "../output.ts";
import { startProgress } from "../progress.ts";
import { runMany } from "../update/many.ts";
import { copyText, planText, showReport, stepTexts } from "../update/show.ts";
import { printable } from "../view/text.ts";

interface UpdateCommandOptions {
  readonly qmp?: readonly string[];
  readonly pid?: number;
  readonly all?: true;
  readonly match?: string;
  readonly atOnce?: number;
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
    .addOption(new Option("--qmp <path...>", "the VM, by the path of its QMP socket; or several VMs"))
    .addOption(new Option("--pid <pid>", "the VM, by its process id").argParser(wholeNumber(1, 2 ** 22)))
    .addOption(new Option("--all", "every QEMU of this user (root: of every user)").conflicts(["qmp", "pid", "match"]))
    .addOption(new Option("--match <glob>", "those whose name or socket is like this").conflicts(["qmp", "pid"]))
    .addOption(
      new Option("--at-once <n>", "several VMs: so many updates side by side (default: one for each core)").argParser(
        wholeNumber(1, 1_000),
      ),
    )
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
  $ cprkit update --match 'web-*' --qemu /opt/qemu-11.1/bin/qemu-system-x86_64 --at-once 4

Of several VMs at most one is in the switch at a time; one that fails does not hinder the others, and --json prints a line
for each event. The exit code is the worst one.

Exit code: 0 done, 1 --dry-run found a blocker or --abort came too late (the update was finished), 4 refused or rolled
back: the last line says where the guest is. \`cprkit status\` says it at any time.`,
    )
    .action((command: string[], options: UpdateCommandOptions) =>
      interruptible((signal) => runUpdate(command, options, signal)),
    );
}

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
  const { qmp = [], pid, all = false, match, json } = options;
  if (qmp.length === 0 && pid === undefined && !all && match === undefined) {
    throw new CprkitError(
      "ERR_USAGE",
      "no VM named: give --qmp PATH or --pid PID, or for several --match GLOB or --all",
    );
  }
  if (!all && match === undefined && qmp.length < 2) {
    await updateOne(command, options, { qmp: qmp[0], pid }, signal);
    return;
  }
  if (command.length > 0 || pid !== undefined || options.resume === true || options.abort === true) {
    throw new CprkitError("ERR_USAGE", "a command after --, --pid, --resume and --abort are for one VM: name one");
  }
  const request = { ...requestOf(command, options), signal };
  const { atOnce, dryRun = false } = options;
  await runMany({ qmp, all, match }, { request, atOnce, dryRun, json: json === true });
}

function requestOf(command: readonly string[], options: UpdateCommandOptions): UpdateOptions {
  return {
    qemu: options.qemu,
    command: command.length === 0 ? undefined : command,
    mode: options.mode,
    allowCopy: options.allowCopy,
    maxDowntimeMs: options.maxDowntime,
    maxBandwidth: options.maxBandwidth === undefined ? undefined : options.maxBandwidth * 2 ** 20,
    copyTimeoutMs: options.copyTimeout === undefined ? undefined : options.copyTimeout * 1000,
    timeoutMs: options.timeout === undefined ? undefined : options.timeout * 1000,
    stateDir: options.stateDir,
    allow: options.allow,
    waitForJobsMs: options.waitForJobs === undefined ? undefined : options.waitForJobs * 1000,
    hooks: { beforePause: options.beforePause, onSuccess: options.onSuccess, onFailure: options.onFailure },
    passwords: { vnc: firstLine(options.vncPasswordFile), spice: firstLine(options.spicePasswordFile) },
  };
}

async function updateOne(
  command: readonly string[],
  options: UpdateCommandOptions,
  target: VmTarget,
  signal: AbortSignal,
): Promise<void> {
  const { json } = options;
  const progress = startProgress("looking at the VM", json === true);
  const request: UpdateOptions = {
    ...requestOf(command, options),
    onCopy: (copied) => progress.step(copyText(copied)),
    onWait: (text) => progress.step(text),
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
  if (plan.findings.some(isBlocker)) process.exitCode = exitCodes.finding;
  if (json) printJson(plan);
  else print(planText(plan));
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
