// cprkit update of several VMs: which ones, a table that grows while they are under way, and the worst exit code.

import { isBlocker } from "../../qemu/finding.ts";
import { findVms, type RunningVm } from "../../qemu/many/find.ts";
import { type UpdateManyEvent, type UpdateOutcome, updateMany } from "../../qemu/many/update-many.ts";
import { realPath } from "../../qemu/namespaces/paths.ts";
import type { UpdateOptions, UpdatePlan } from "../../qemu/update/options.ts";
import { planUpdate } from "../../qemu/update/plan.ts";
import { asCprkitError } from "../../qemu/update/run.ts";
import { printable } from "../../vmstate/shown/text.ts";
import { exitCodeOf, exitCodes } from "../exit-codes.ts";
import { globTest } from "../input/glob.ts";
import { print, printError, printJson } from "../output.ts";
import { startProgress } from "../progress.ts";
import { table } from "../view/table.ts";
import { planText, stepTexts } from "./show.ts";

/** Which VMs are meant. */
export interface Selection {
  /** Paths of QMP sockets. */
  readonly qmp: readonly string[];
  readonly all: boolean;
  /** By name or by the path of a QMP socket, with wildcards. */
  readonly match: string | undefined;
}

export interface ManyOptions {
  readonly request: UpdateOptions;
  readonly atOnce: number | undefined;
  readonly dryRun: boolean;
  readonly json: boolean;
}

type Vm = Pick<RunningVm, "qmp" | "name"> & { readonly pid?: number | undefined };

/** Updates them and says what became of each. The exit code is the worst one. @throws CprkitError ERR_ABORTED */
export async function runMany(selection: Selection, { request, atOnce, dryRun, json }: ManyOptions): Promise<void> {
  const vms = await selected(selection, request.signal);
  if (vms.length === 0) {
    if (selection.match !== undefined) process.exitCode = exitCodes.finding;
    const whose = process.geteuid?.() === 0 ? "" : " of this user";
    printError(
      selection.match === undefined ? `no QEMU${whose} runs here` : `no VM${whose} is called ${selection.match}`,
    );
    return;
  }
  if (dryRun) {
    await showPlans(vms, request, json);
    return;
  }
  const board = makeBoard(vms, json);
  const how = { atOnce, ensure: selection.all, onEvent: board.tell };
  const outcomes = await updateMany(vms, { ...request, ...how }).finally(board.stop);
  if (json) printJson({ event: "done", ...counts(outcomes) });
  else showOutcomes(vms, outcomes);
  process.exitCode = worst(outcomes);
}

async function selected({ qmp, all, match }: Selection, signal: AbortSignal | undefined): Promise<readonly Vm[]> {
  const named = qmp.map((path) => ({ qmp: realPath(path), name: undefined }));
  if (!all && match === undefined) return named;
  const test = globTest(match ?? "*");
  return (await findVms({ signal })).filter(
    ({ name, qmp: path }) => all || (name !== undefined && test(name)) || (path !== undefined && test(path)),
  );
}

async function showPlans(vms: readonly Vm[], request: UpdateOptions, json: boolean): Promise<void> {
  let code: number = exitCodes.fine;
  for (const vm of vms) {
    const answer: UpdatePlan | { error: ReturnType<typeof asCprkitError> } = await planUpdate(vm, request).catch(
      (error: unknown) => ({ error: asCprkitError(error) }),
    );
    if ("error" in answer) code = Math.max(code, exitCodeOf(answer.error.code));
    else if (answer.findings.some(isBlocker)) code = Math.max(code, exitCodes.finding);
    if (json) printJson({ vm: vmOf(vm), ...("error" in answer ? failure(answer.error) : { plan: answer }) });
    else if ("error" in answer) printError(`${nameOf(vm)}: ${answer.error.message}`);
    else print(`# ${nameOf(vm)}\n${planText(answer)}`);
  }
  process.exitCode = code;
}

/** Shows what is under way: lines of JSON, or a table on a terminal. */
function makeBoard(vms: readonly Vm[], json: boolean): { tell(event: UpdateManyEvent): void; stop(): void } {
  const progress = startProgress("", json);
  const now = new Map<unknown, string>();
  let ended = 0;
  const draw = () =>
    progress.lines([
      `${ended} of ${vms.length} done`,
      ...[...now].map(([vm, text]) => `  ${nameOf(vm as Vm)}: ${text}`),
    ]);
  const text = (event: UpdateManyEvent): string | undefined => {
    if (event.event === "begun") return "looking at the VM";
    if (event.event === "waiting") return event.text;
    return event.event === "step" ? stepTexts[event.step] : undefined;
  };
  return {
    tell: (event) => {
      if (json) printJson(eventOf(event));
      const said = text(event);
      if (said !== undefined) now.set(event.vm, said);
      if (event.event === "ended") {
        ended++;
        now.delete(event.vm);
      }
      draw();
    },
    stop: () => progress.stop(),
  };
}

function showOutcomes(vms: readonly Vm[], outcomes: readonly UpdateOutcome[]): void {
  const rows = outcomes.map((outcome, at) => {
    const name = nameOf(vms[at] as Vm);
    if (outcome.outcome !== "updated") return [name, "", "", "", "", "", outcome.outcome];
    const { from, to, mode, downtimeMs, totalMs, runState } = outcome.report;
    const pause = downtimeMs === undefined ? "" : downtimeMs.toFixed(1);
    return [
      name,
      from,
      to,
      mode,
      pause,
      totalMs.toFixed(0),
      runState === "running" ? "updated" : `updated, ${runState}`,
    ];
  });
  const lines = rows.map((row) => row.map(printable));
  print(table(["VM", "FROM", "TO", "MODE", "DOWNTIME MS", "TOTAL MS", "OUTCOME"], lines, ["DOWNTIME MS", "TOTAL MS"]));
  for (const [at, outcome] of outcomes.entries()) {
    const name = nameOf(vms[at] as Vm);
    if (outcome.outcome === "failed") printError(`${name}: ${outcome.error.message}`);
    const warnings = outcome.outcome === "updated" ? outcome.report.warnings : [];
    for (const warning of warnings) printError(`${name}: warning: ${warning}`);
  }
}

function counts(outcomes: readonly UpdateOutcome[]): Record<"updated" | "upToDate" | "failed" | "notBegun", number> {
  const of = (wanted: UpdateOutcome["outcome"]) => outcomes.filter(({ outcome }) => outcome === wanted).length;
  return { updated: of("updated"), upToDate: of("up-to-date"), failed: of("failed"), notBegun: of("not-begun") };
}

function worst(outcomes: readonly UpdateOutcome[]): number {
  const codes = outcomes.map((outcome) => {
    if (outcome.outcome === "updated" || outcome.outcome === "up-to-date") return exitCodes.fine;
    return outcome.outcome === "failed" ? exitCodeOf(outcome.error.code) : exitCodes.refused;
  });
  return Math.max(...codes);
}

function nameOf({ name, qmp, pid }: Vm): string {
  return name ?? qmp ?? `pid ${pid}`;
}

function vmOf({ name, qmp, pid }: Vm): Vm {
  return { name, qmp, pid };
}

function failure({ code, message }: { readonly code: string; readonly message: string }) {
  return { error: { code, message } };
}

function eventOf(event: UpdateManyEvent): unknown {
  const vm = vmOf(event.vm as Vm);
  return event.event === "ended" && event.outcome === "failed"
    ? { ...event, vm, ...failure(event.error) }
    : { ...event, vm };
}
