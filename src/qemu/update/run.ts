// One update under way: its steps, its journal, its two QEMUs. The three modes are built from this.

import { spawn } from "node:child_process";
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { listeningUnixSockets } from "../../linux/index.ts";
import { CprkitError, isCprkitError } from "../../vmstate/error.ts";
import { connectQmp, type Qmp } from "../qmp/client.ts";
import type { QmpEvent } from "../qmp/events.ts";
import type { CarriedFd, UpdateOptions } from "./options.ts";
import type { Destination } from "./peers/destination.ts";
import { startDestination } from "./peers/destination.ts";
import { markVariable } from "./peers/marked.ts";
import { askPeer, hasEnded, type Peer } from "./peers/peer.ts";
import type { Prepared } from "./plan.ts";
import { type Journal, writeJournal } from "./record/journal.ts";
import { isPastReturn, type UpdateStep } from "./steps.ts";

/** An update under way. */
export interface Run {
  readonly options: UpdateOptions;
  readonly prepared: Prepared;
  readonly source: Peer;
  destination: Destination | undefined;
  readonly journal: Journal;
  readonly timeoutMs: number;
  readonly warnings: string[];
  /** Aborted when the update ends in any way: what still waits for the tap gives up. */
  readonly over: AbortController;
  fds: readonly CarriedFd[] | undefined;
  nonblockRestored: number;
  /** When the guest stopped and ran again, by the QEMUs' clocks, in microseconds. */
  stopUs: number | undefined;
  resumeUs: number | undefined;
  readonly phases: { readonly step: UpdateStep; readonly ms: number }[];
  /** Writes the step down, does it, and tells the caller of it. */
  step(step: UpdateStep, act?: () => Promise<unknown>): Promise<void>;
}

/** Steps that come while the guest is stopped: nothing may wait for a disk then. */
const unwritten = new Set<UpdateStep>(["inspected", "planned", "locked", "stopped", "saved", "replaced"]);

/** Counts and tells the steps; the first one's time counts from `start` (performance.now()). */
export function stepper(
  options: UpdateOptions,
  state: () => { readonly run: Run | undefined; readonly folder: string; readonly source: number },
  phases: { step: UpdateStep; ms: number }[],
  start: number,
): Run["step"] {
  let before = start;
  return async (step, act) => {
    const { run, folder, source } = state();
    const past = run !== undefined && isPastReturn(run.journal.mode, step);
    const attempt = async (work: () => unknown) => {
      try {
        await work();
      } catch (error) {
        if (!past) throw error;
        run.warnings.push(error instanceof Error ? error.message : String(error));
      }
    };
    if (!past) throwIfAborted(options.signal, step);
    if (run !== undefined && !unwritten.has(step)) {
      run.journal.step = step;
      await attempt(() => writeJournal(folder, run.journal));
    }
    await act?.();
    const now = performance.now();
    phases.push({ step, ms: now - before });
    before = now;
    await attempt(() => options.onStep?.(step, { source, destination: run?.destination?.identity.pid }));
  };
}

function throwIfAborted(signal: AbortSignal | undefined, step: string): void {
  if (signal?.aborted !== true) return;
  throw new CprkitError("ERR_ABORTED", `aborted before the step "${step}"`, { cause: signal.reason });
}

/** The source's monitor. @throws CprkitError ERR_QEMU_EXITED when it has hung up */
export async function sourceQmp({ source }: Run): Promise<Qmp> {
  const { qmp } = source;
  if (qmp !== undefined && !(await hasEnded(qmp))) return qmp;
  throw new CprkitError(
    "ERR_QEMU_EXITED",
    `the old QEMU (pid ${source.identity.pid}) has closed its monitor: it has ended`,
  );
}

/** Sets mode and capabilities on a QEMU, then asks whether anything in it blocks the update. */
export async function setSource(
  run: Run,
  parameters: Readonly<Record<string, unknown>>,
  capabilities: readonly string[],
): Promise<void> {
  const qmp = await sourceQmp(run);
  const wait = { signal: run.options.signal, timeoutMs: run.timeoutMs };
  await qmp.execute("migrate-set-capabilities", { capabilities: switchedOn(capabilities) }, wait);
  await qmp.execute("migrate-set-parameters", parameters, wait);
  const blockers = (await qmp.execute("query-migrate", undefined, wait))["blocked-reasons"] ?? [];
  if (blockers.length > 0) {
    throw new CprkitError("ERR_UPDATE_REFUSED", `QEMU says that this VM can't be updated: ${blockers.join("; ")}`);
  }
}

export function switchedOn(names: readonly string[]): { capability: string; state: boolean }[] {
  return names.map((capability) => ({ capability, state: true }));
}

/** Starts the new QEMU with the given -incoming options and notes it in the journal. */
export async function startBeside(
  run: Run,
  command: readonly string[],
  qmpPath: string,
  incoming: readonly string[],
): Promise<Destination> {
  const { prepared, journal } = run;
  const words = [...prepared.launcher, ...command, ...incoming.flatMap((value) => ["-incoming", value])];
  const destination = await startDestination({
    command: words,
    cwd: prepared.vm.process.cwd,
    env: { ...prepared.env, [markVariable]: journal.id },
    log: journal.log,
    qmpPath,
  });
  return destination;
}

/** Notes the destination, so that a later cprkit finds it. */
export function adopt(run: Run, destination: Destination): void {
  run.destination = destination;
  const { pid, startTime } = destination.identity;
  run.journal.destination = {
    pid,
    startTime: String(startTime),
    qmp: destination.qmpPath,
    version: run.prepared.plan.to,
  };
}

/** Waits until somebody listens on the path. Never connects: the first connection is the only one that counts. */
export async function untilListening(path: string, run: Run): Promise<void> {
  const end = performance.now() + run.timeoutMs;
  while (!listeningUnixSockets().some((socket) => socket.path === path)) {
    throwIfAborted(run.options.signal, "listening");
    if (performance.now() > end) {
      throw new CprkitError("ERR_TIMEOUT", `the new QEMU did not listen on ${path} within ${run.timeoutMs} ms`);
    }
    await delay(5, undefined, { signal: run.over.signal });
  }
}

/** Waits until the destination has the guest. @throws CprkitError when it can't be any more, or after the timeout */
export async function untilTakenOver(run: Run, destination: Destination): Promise<void> {
  const qmp = await sourceQmp(run);
  await destination.orExit(
    waitFor(run, [qmp, destination.qmp], async () => {
      const there = await askPeer(destination, run.timeoutMs);
      if (there.migration === "completed" && there.run !== "inmigrate") return true;
      const here = await askPeer(run.source, run.timeoutMs);
      if (!here.alive) throw new CprkitError("ERR_QEMU_EXITED", "the old QEMU has ended in the middle of the update");
      if (here.migration === "failed" || here.migration === "cancelled") {
        throw new CprkitError(
          "ERR_UPDATE_FAILED",
          `the old QEMU could not hand the guest over: ${here.error ?? here.migration}`,
        );
      }
      return false;
    }),
  );
}

/**
 * Calls `look` when a migration has ended on one of the monitors, and every 100 ms, until it is true. Not at every
 * event: while the guest stands still each question keeps a QEMU from its work.
 */
export async function waitFor(
  run: Run,
  monitors: readonly (Qmp | undefined)[],
  look: () => Promise<boolean>,
): Promise<void> {
  const { signal } = run.options;
  const end = performance.now() + run.timeoutMs;
  let wake: () => void = () => undefined;
  let hasEnded = monitors.some((qmp) => qmp?.events().some(isEnd) === true);
  const stops = monitors.map((qmp) =>
    qmp?.onEvent((event) => {
      if (!isEnd(event)) return;
      hasEnded = true;
      wake();
    }),
  );
  const onAbort = () => wake();
  const pauseFor = async (ms: number, woken: Promise<void>) => {
    const timer = setTimeout(() => wake(), ms);
    await woken;
    clearTimeout(timer);
  };
  let isFirst = true;
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    for (;;) {
      const woken = new Promise<void>((resolve) => {
        wake = resolve;
      });
      if (isFirst && !hasEnded) await pauseFor(100, woken);
      isFirst = false;
      if (await look()) return;
      throwIfAborted(signal, "running");
      if (run.over.signal.aborted) throw new CprkitError("ERR_ABORTED", "the update is over");
      if (performance.now() > end) {
        throw new CprkitError("ERR_TIMEOUT", `the guest was not handed over within ${run.timeoutMs} ms`);
      }
      // The run state changes a little after the event that says so.
      await pauseFor(hasEnded ? 2 : 100, woken);
    }
  } finally {
    signal?.removeEventListener("abort", onAbort);
    for (const stop of stops) stop?.();
  }
}

function isEnd({ name, data }: QmpEvent): boolean {
  return name === "MIGRATION" && ["completed", "failed", "cancelled"].includes(String(data["status"]));
}

/** Notes STOP of the source and RESUME of the destination. */
export function noteDowntime(run: Run, source: Qmp, destination: Qmp): void {
  run.stopUs = source.events().findLast(({ name }) => name === "STOP")?.timeUs;
  run.resumeUs = destination.events().findLast(({ name }) => name === "RESUME")?.timeUs;
}

/**
 * Does the step "switching", then calls the step "stopped" as soon as the source says so. Wait for the returned
 * function once the guest has been handed over.
 */
export async function switchOver(run: Run, source: Qmp, act: () => Promise<unknown>): Promise<() => Promise<void>> {
  const since = source.lastEventSeq();
  await run.step("switching", act);
  let told: Promise<void> | undefined;
  const tell = () => {
    told ??= run.step("stopped");
    // Whoever waits for it gets its error; until then it must not count as unhandled.
    told.catch(() => undefined);
    return told;
  };
  const stop = source.onEvent(({ name }) => {
    if (name === "STOP") tell();
  });
  if (source.events().some(({ name, seq }) => name === "STOP" && seq > since)) tell();
  return () => {
    stop();
    return tell();
  };
}

/** Runs a command of the operator. @throws CprkitError ERR_UPDATE_FAILED when it fails */
export async function runHook(run: Run, which: "beforePause" | "onSuccess" | "onFailure"): Promise<void> {
  const command = run.options.hooks?.[which];
  if (command === undefined) return;
  const { source, destination, prepared } = run;
  const env = {
    ...process.env,
    CPRKIT_MODE: prepared.plan.mode,
    CPRKIT_QMP: prepared.publicQmp,
    CPRKIT_SOURCE_PID: String(source.identity.pid),
    CPRKIT_PID: String((destination ?? source).identity.pid),
  };
  const signal = which === "beforePause" ? run.options.signal : undefined;
  const child = spawn("/bin/sh", ["-c", command], { stdio: ["ignore", 2, 2], env, signal, timeout: run.timeoutMs });
  const how = await new Promise<string | undefined>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, name) => resolve(code === 0 ? undefined : `ended with ${name ?? `status ${code}`}`));
  });
  if (how !== undefined) throw new CprkitError("ERR_UPDATE_FAILED", `the ${which} command ${how}: ${command}`);
}

/** Connects to the destination's monitor, waiting for it; `guard` says when to give up, and no session is left then. */
export async function connectDestination(
  run: Run,
  destination: Destination,
  guard: (work: Promise<Qmp>) => Promise<Qmp>,
): Promise<Qmp> {
  const { timeoutMs, options } = run;
  const given = new AbortController();
  const signal = options.signal === undefined ? given.signal : AbortSignal.any([options.signal, given.signal]);
  try {
    const qmp = await guard(connectQmp(destination.qmpPath, { waitMs: timeoutMs, timeoutMs, signal }));
    destination.qmp = qmp;
    return qmp;
  } catch (error) {
    // A session that came about later would hold the one place at the monitor.
    given.abort();
    throw error;
  }
}

/** Removes what the update put into its folder; of a guest that is lost, what is left of it stays. */
export function removeFiles(journal: Journal, lost = false): void {
  for (const file of journal.files) {
    if (!(lost && file === journal.stateFile) && existsSync(file)) rmSync(file, { force: true });
  }
}

/** A path of this update in its folder. */
export function fileOf(folder: string, id: string, kind: string): string {
  return join(folder, `${id}.${kind}`);
}

/** Turns what was thrown into an error of cprkit's. */
export function asCprkitError(error: unknown): CprkitError {
  if (isCprkitError(error)) return error;
  const text = error instanceof Error ? error.message : String(error);
  return new CprkitError("ERR_UPDATE_FAILED", text, { cause: error });
}
