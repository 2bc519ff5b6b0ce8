// What `cprkit update` does once its words are understood.

import { readFileSync } from "node:fs";
import { isBlocker } from "../../qemu/finding.ts";
import type { UpdateOptions, UpdatePlan } from "../../qemu/update/options.ts";
import { planUpdate } from "../../qemu/update/plan.ts";
import { abortUpdate, type Recovery, resumeUpdate } from "../../qemu/update/recover.ts";
import { updateVm } from "../../qemu/update/update.ts";
import type { VmTarget } from "../../qemu/vm/open.ts";
import { CprkitError } from "../../vmstate/error.ts";
import { printable } from "../../vmstate/shown/text.ts";
import { exitCodes } from "../exit-codes.ts";
import { print, printError, printJson, printWarning } from "../output.ts";
import { startProgress } from "../progress.ts";
import { runMany } from "./many.ts";
import type { UpdateCommandOptions } from "./options.ts";
import { copyText, planText, showReport, stepTexts } from "./show.ts";

/** Updates one VM or several. @throws CprkitError ERR_USAGE for words that do not go together; as updateVm */
export async function runUpdate(
  command: readonly string[],
  options: UpdateCommandOptions,
  signal: AbortSignal,
): Promise<void> {
  const { qmp = [], pid, all = false, match, json } = options;
  if (qmp.length === 0 && pid === undefined && !all && match === undefined) {
    if (json !== true)
      await (await import("../vms/list.ts")).runList({ ...(options.qemu && { qemu: options.qemu }) }, signal);
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

/** A password, which does not belong on a command line. @throws CprkitError ERR_FILE */
function firstLine(path: string | undefined): string | undefined {
  if (path === undefined) return undefined;
  try {
    return readFileSync(path, "utf8").split(/\r?\n/)[0];
  } catch (cause) {
    throw new CprkitError("ERR_FILE", `${path}, the file with a password, can't be read: ${String(cause)}`, { cause });
  }
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
