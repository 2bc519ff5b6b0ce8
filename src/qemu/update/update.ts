// Replaces the QEMU under a running guest: plans, locks, writes down, runs the mode, and on any failure settles where
// the guest is. The state machine is described in docs/decisions/0008-update-state-machine.md.

import { randomBytes } from "node:crypto";
import { dirname, join, resolve } from "node:path";
import { closeFds } from "../../linux/index.ts";
import { statFile } from "../../linux/process/stat-file.ts";
import { roomySignal } from "../../linux/wait/roomy-signal.ts";
import { CprkitError } from "../../vmstate/error.ts";
import type { QmpStep } from "../carry/subject.ts";
import { publicName } from "../command-line/derive.ts";
import { endsOf, takePlace } from "../handover/doors.ts";
import { outside, realPath, throughRootOf } from "../namespaces/paths.ts";
import { waitForJobs } from "../preflight/jobs.ts";
import { openVm, type VmTarget } from "../vm/open.ts";
import { stateBase, vmFolder } from "../vm/state-dir.ts";
import { goForward } from "./finish.ts";
import { runHook } from "./hooks.ts";
import { runCopy } from "./modes/copy.ts";
import { runExec } from "./modes/exec.ts";
import { runReboot } from "./modes/reboot.ts";
import { runTransfer } from "./modes/transfer.ts";
import { removeNames } from "./names.ts";
import type { UpdateOptions, UpdateReport } from "./options.ts";
import { reported } from "./peers/log.ts";
import { findStartedFor } from "./peers/marked.ts";
import { askPeer, type Peer, releasePeer } from "./peers/peer.ts";
import { giveBack, givePasswords } from "./peers/tell.ts";
import { type Prepared, prepare, refuseBlocked } from "./plan.ts";
import { compareAfter } from "./ready.ts";
import { makeHandOverFolder } from "./record/hand-over-folder.ts";
import {
  bootId,
  closeJournal,
  closeJournalMeanwhile,
  type Journal,
  listJournals,
  makeFolder,
  readJournal,
  removeOldLogs,
  saveJournal,
} from "./record/journal.ts";
import { refuseHeld, takeLock, takeProcessLock } from "./record/lock.ts";
import { keepFinished } from "./record/reports.ts";
import { asCprkitError, fileOf, type Run, removeFiles, stepper } from "./run.ts";
import { type Settled, settle } from "./settle.ts";
import type { UpdateStep } from "./steps.ts";

const modes = { "cpr-transfer": runTransfer, "cpr-exec": runExec, "cpr-reboot": runReboot, copy: runCopy };

/**
 * Replaces the QEMU under a running guest.
 *
 * Until the destination runs the guest, every failure, and the signal, ends with the guest running in the source;
 * from then on the update only goes forward, and what goes wrong is a warning in the report.
 *
 * @throws CprkitError ERR_UPDATE_REFUSED when something is in the way (nothing was changed), ERR_UPDATE_FAILED when it
 * was rolled back or the guest is lost (the message says which, and where the guest is; `cause` is the failure),
 * ERR_USAGE, ERR_QEMU_NOT_FOUND, ERR_QEMU_EXITED, ERR_TIMEOUT, ERR_ABORTED, ERR_QMP, ERR_FILE before anything was
 * changed.
 */
export async function updateVm(target: VmTarget, asked: UpdateOptions = {}): Promise<UpdateReport> {
  const start = performance.now();
  const options = { ...asked, signal: roomySignal(asked.signal) };
  refuseHeldBefore(target, options);
  const opened = await openVm(target, { signal: options.signal, commandTimeoutMs: options.timeoutMs });
  const { vm, place } = await takePlace(opened, { signal: options.signal, timeoutMs: options.timeoutMs });
  const source: Peer = { identity: vm.process.identity, qmpPath: vm.qmpPath, qmp: vm.qmp };
  const phases: { step: UpdateStep; ms: number }[] = [];
  let run: Run | undefined;
  let folder = "";
  let unlock: (() => void) | undefined;
  const step = stepper(options, () => ({ run, folder, source: vm.process.identity.pid }), phases, start);
  try {
    await waitForJobs(vm.qmp, options);
    await step("inspected");
    const planned = await prepare(vm, options);
    refuseBlocked(planned.plan);
    options.onPlan?.(planned.plan);
    await step("planned");
    folder = makeFolder(planned.folder);
    const prepared = { ...planned, folder };
    unlock = takeLocks(folder, source);
    await step("locked");
    refuseUnfinished(folder, source);
    keepFinished(folder, readJournal(folder));
    run = { ...newRun(prepared, options, source, phases, step), place };
    return await carryOut(run, start);
  } finally {
    run?.over.abort();
    closePlaces(run, place);
    await Promise.all([releasePeer(source), vm.qmp.close(), releasePeer(run?.destination)]);
    unlock?.();
  }
}

/** What the new QEMU has not got, or does not need any more. */
function closePlaces(run: Run | undefined, place: number | undefined): void {
  const ends = run?.doors.splice(0).flatMap(endsOf) ?? [];
  const own = run === undefined ? place : run.place;
  closeFds([...ends, ...(own === undefined ? [] : [own])]);
}

/** Another update holds the monitor, and "another client holds it" would not say who. */
function refuseHeldBefore({ qmp }: VmTarget, { stateDir }: UpdateOptions): void {
  const base = stateBase(stateDir, qmp);
  if (base === undefined || qmp === undefined) return;
  refuseHeld(vmFolder(base, publicName(realPath(qmp))));
}

/** The lock by the socket's name, which stays over all generations, and the one of the process, for its other sockets. */
function takeLocks(folder: string, { identity }: Peer): () => void {
  const unlock = takeLock(folder);
  try {
    const unlockProcess = takeProcessLock(identity);
    return () => {
      unlockProcess();
      unlock();
    };
  } catch (error) {
    unlock();
    throw error;
  }
}

async function carryOut(run: Run, start: number): Promise<UpdateReport> {
  const { journal, prepared } = run;
  let failure: CprkitError | undefined;
  try {
    await run.step("journalled", async () =>
      makeHandOverFolder(prepared.folder, journal.id, prepared.vm.process.credentials),
    );
    await modes[journal.mode](run);
  } catch (error) {
    failure = asCprkitError(error);
  }
  if (failure !== undefined) {
    const settled = await settleRun(run);
    if (settled.guest !== "destination") throw await rolledBack(run, failure, settled);
    run.warnings.push(`the update went on although ${failure.message}`);
  }
  const { downtimeMs, stopUs, resumeUs } = run;
  journal.pause = { downtimeMs, stopUs, resumeUs };
  await run.step("running");
  const destination: Peer = run.destination ?? run.source;
  await goForward({
    journal,
    source: run.source,
    destination,
    holders: run.doors.map(({ holder }) => holder),
    step: run.step,
    warn: (text) => run.warnings.push(text),
  });
  // cprkit's own monitor of the new QEMU has no path from here on: where it is reached now must be written down before.
  const unsaved = saveJournal(prepared.folder, journal);
  if (unsaved !== undefined) run.warnings.push(unsaved);
  run.warnings.push(...(await givePasswords(destination, run.options.passwords)), ...removeFiles(journal));
  removeOldLogs(prepared.folder);
  await compareAfter(run, destination);
  await runHook(run, "onSuccess").catch((error: unknown) => run.warnings.push(asCprkitError(error).message));
  await run.step("done", async () => {
    journal.step = "done";
    const why = "the new QEMU runs the guest";
    const unclosed = await closeJournalMeanwhile(prepared.folder, journal, "updated", why);
    if (unclosed !== undefined) run.warnings.push(unclosed);
  });
  const last = await askPeer(destination);
  if (!last.alive) throw lostAfter(run, destination);
  const { run: runState = "unknown" } = last;
  return {
    outcome: "updated",
    mode: journal.mode,
    from: prepared.plan.from,
    to: prepared.plan.to,
    sourcePid: run.source.identity.pid,
    pid: destination.identity.pid,
    qmp: throughRootOf(prepared.publicQmp, run.source.identity.pid, destination.identity.pid),
    runState,
    downtimeMs: run.downtimeMs,
    stopUs: run.stopUs,
    resumeUs: run.resumeUs,
    fds: run.fds,
    carried: prepared.plan.carried,
    comparison: run.comparison,
    nonblockRestored: run.nonblockRestored,
    phases: run.phases,
    totalMs: performance.now() - start,
    warnings: run.warnings,
    said: reported(journal.log),
    command: prepared.plan.command,
    log: journal.log,
  };
}

/** What was failing may have left the tap waiting: it lets go only once the source has been told to stop. */
async function settleRun(run: Run): Promise<Settled> {
  const settled = await settle({
    journal: run.journal,
    source: run.source,
    destination: run.destination,
    sawAll: run.destination?.qmp !== undefined,
    timeoutMs: run.timeoutMs,
  });
  if (settled.guest !== "destination") run.over.abort();
  return settled;
}

/** Tidies up after a failure and makes the error that says where the guest is. */
async function rolledBack(run: Run, failure: CprkitError, { guest, why }: Settled): Promise<CprkitError> {
  const { journal, source, prepared } = run;
  const outcome = guest === "source" ? "rolled-back" : guest === "lost" ? "lost" : undefined;
  const problems: string[] = [];
  if (outcome !== undefined) {
    if (guest === "source") problems.push(...(await giveBack(source, journal)));
    problems.push(...removeNames(journal, source), ...removeFiles(journal, outcome === "lost"));
    const unclosed = closeJournal(prepared.folder, journal, outcome, failure.message);
    if (unclosed !== undefined) problems.push(unclosed);
  } else {
    // What settling has found out is worth as much as the steps.
    const unsaved = saveJournal(prepared.folder, journal);
    if (unsaved !== undefined) problems.push(unsaved);
  }
  await runHook(run, "onFailure").catch((error: unknown) => problems.push(asCprkitError(error).message));
  const also = problems.map((problem) => `. Also, ${problem}`).join("");
  return new CprkitError("ERR_UPDATE_FAILED", `${sentence(guest, source, why)}. Cause: ${failure.message}${also}`, {
    cause: failure,
  });
}

/** The new QEMU had the guest, and has ended since. */
function lostAfter({ journal, prepared }: Run, destination: Peer): CprkitError {
  const { identity } = destination;
  const why = `the new QEMU (pid ${identity.pid}) had taken it over and has ended since; its log is ${journal.log}`;
  removeNames(journal, destination);
  closeJournal(prepared.folder, journal, "lost", why);
  return new CprkitError("ERR_UPDATE_FAILED", `the guest is lost, no QEMU runs it: ${why}`);
}

function sentence(guest: Settled["guest"], { identity }: Peer, why: string): string {
  switch (guest) {
    case "source":
      return `the update was rolled back: ${why}, pid ${identity.pid}`;
    case "lost":
      return `the guest is lost, no QEMU runs it: ${why}`;
    default:
      return `the update stands still: ${why}; look at it, then \`cprkit update --abort\` or --resume`;
  }
}

/** By this socket, or by another one of the same QEMU. */
function refuseUnfinished(folder: string, { identity }: Peer): void {
  const { journals, problems } = listJournals(dirname(folder));
  const problem = problems.find((each) => each.folder === folder);
  if (problem !== undefined) throw problem.error;
  const isThis = (entry: { readonly pid: number; readonly startTime: string } | undefined) =>
    entry?.pid === identity.pid && entry.startTime === String(identity.startTime);
  const earlier = journals.find(
    ({ folder: other, journal: { outcome, source, destination } }) =>
      outcome === undefined && (other === folder || isThis(source) || isThis(destination)),
  )?.journal;
  if (earlier === undefined) {
    refuseStartedFor(identity, dirname(folder));
    return;
  }
  throw new CprkitError(
    "ERR_UPDATE_REFUSED",
    `an update of this VM was begun at ${earlier.startedAt} and not finished (step "${earlier.step}"): finish it with ` +
      `\`cprkit update --resume --qmp ${earlier.publicQmp}\`, or take it back with --abort`,
  );
}

/** What an update with another state folder has left, whose journal is not seen here. */
function refuseStartedFor(identity: Peer["identity"], base: string): void {
  const [started] = findStartedFor(identity);
  if (started === undefined) return;
  throw new CprkitError(
    "ERR_UPDATE_REFUSED",
    `process ${started.pid} was started by another update of this QEMU (pid ${identity.pid}), of which ${base} knows ` +
      "nothing: finish that one with `cprkit update --resume` or --abort and its --state-dir, or see which of the two " +
      "runs the guest and end the other",
  );
}

function newRun(
  prepared: Prepared,
  options: UpdateOptions,
  source: Peer,
  phases: { step: UpdateStep; ms: number }[],
  step: Run["step"],
): Run {
  const { plan, vm, folder } = prepared;
  const { timeoutMs = 60_000 } = options;
  const id = randomBytes(3).toString("hex");
  const { startTime, pid } = vm.process.identity;
  const { uid, gid, groups } = vm.process.credentials;
  const owner = { uid, gid, groups: [...groups] };
  const stateFile = plan.mode === "cpr-exec" || plan.mode === "cpr-reboot" ? fileOf(folder, id, "vm") : undefined;
  const journal: Journal = {
    version: 1,
    id,
    startedAt: new Date().toISOString(),
    bootId: bootId(),
    mode: plan.mode,
    ...(options.key === undefined ? {} : { key: options.key }),
    to: plan.to,
    step: "locked",
    source: { pid, startTime: String(startTime), qmp: vm.qmpPath, version: plan.from },
    runState: prepared.runState,
    returnPath: plan.mode === "cpr-transfer" || plan.mode === "copy",
    settings: settingsOf(prepared),
    // In cpr-exec there is no time before the guest runs.
    after: stepsOf([...(plan.mode === "cpr-exec" ? prepared.carry.before : []), ...prepared.carry.after]),
    owned: ownedFiles(prepared),
    ...(plan.mode === "cpr-exec" ? { threads: prepared.machine.process.threads } : {}),
    moved: [...(prepared.rehearsal?.moved ?? prepared.moved)],
    ...(prepared.handed.length === 0 ? {} : { handed: prepared.handed.map((each) => ({ ...each })) }),
    publicQmp: publicName(vm.qmpPath),
    ...(vm.process.root === "" ? {} : { qmpInside: vm.qmpInside }),
    ...(stateFile === undefined ? {} : { stateFile }),
    files: [
      fileOf(folder, id, "t"),
      fileOf(folder, id, "c"),
      fileOf(folder, id, "m"),
      fileOf(folder, id, "q"),
      ...(stateFile === undefined ? [] : [stateFile]),
    ],
    log: join(folder, `${id}.log`),
    vfio: prepared.vfio,
    owner,
    request: {
      ...(options.qemu === undefined ? {} : { qemu: plan.command[0] ?? options.qemu }),
      ...(options.command === undefined ? {} : { command: [...options.command] }),
      mode: plan.mode,
      allow: [...(options.allow ?? [])],
      timeoutMs,
    },
  };
  return {
    options,
    prepared,
    source,
    destination: undefined,
    place: undefined,
    doors: [],
    watcher: undefined,
    journal,
    timeoutMs,
    warnings: plan.findings.map(({ message, remedy }) => `${message}; ${remedy}`),
    over: new AbortController(),
    machine: undefined,
    comparison: { before: undefined, after: undefined },
    fds: undefined,
    nonblockRestored: 0,
    stopUs: undefined,
    resumeUs: undefined,
    switchedMs: undefined,
    downtimeMs: undefined,
    phases,
    step,
  };
}

/** The sockets on which QEMU listens, and its pidfile. */
function ownedFiles({ machine, moved, vm }: Prepared): NonNullable<Journal["owned"]> {
  const sockets = machine.process.sockets.flatMap(({ path, mode, uid, gid }) =>
    mode === undefined || uid === undefined || gid === undefined || path.startsWith("@")
      ? []
      : [{ path: resolve(vm.process.cwd, path), mode, uid, gid }],
  );
  const files = moved.flatMap(({ kind, old }) => {
    const stat = kind === "pidfile" ? statFile(outside(vm.process, old)) : undefined;
    if (stat === undefined) return [];
    const mode = (Number(stat.mode) & 0o7777).toString(8).padStart(4, "0");
    return [{ path: old, mode, uid: Number(stat.uid), gid: Number(stat.gid) }];
  });
  return [...sockets, ...files];
}

function stepsOf(steps: readonly QmpStep[]): NonNullable<Journal["after"]> {
  return steps.map(({ execute, arguments: args }) => ({ execute, ...(args === undefined ? {} : { arguments: args }) }));
}

function settingsOf({ settings }: Prepared): Journal["settings"] {
  const { mode = "normal", ...parameters } = settings.parameters;
  return {
    mode,
    capabilities: Object.fromEntries(settings.capabilities.map(({ capability, state }) => [capability, state])),
    parameters: Object.fromEntries(
      Object.entries(parameters).flatMap(([name, value]) =>
        typeof value === "string" || typeof value === "number" || typeof value === "boolean" ? [[name, value]] : [],
      ),
    ),
  };
}
