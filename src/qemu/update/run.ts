// One update under way: its steps, its journal, its files.

import { rmSync } from "node:fs";
import { dirname, join } from "node:path";
import type { ProcessIdentity } from "../../linux/index.ts";
import { CprkitError, isCprkitError } from "../../vmstate/error.ts";
import type { Door } from "../handover/doors.ts";
import type { Reading, ReadingOptions } from "../machine/read.ts";
import type { Machine } from "../machine/schema.ts";
import { inside } from "../namespaces/paths.ts";
import type { CarriedFd, UpdateComparison, UpdateOptions } from "./options.ts";
import type { Destination } from "./peers/destination.ts";
import type { Peer } from "./peers/peer.ts";
import type { Watcher } from "./peers/watcher.ts";
import type { Prepared } from "./plan.ts";
import { handOverFolder, removeHandOverFolder } from "./record/hand-over-folder.ts";
import { type Journal, writeJournalMeanwhile } from "./record/journal.ts";
import { isPastReturn, type UpdateStep } from "./steps.ts";

/** An update under way. */
export interface Run {
  readonly options: UpdateOptions;
  readonly prepared: Prepared;
  readonly source: Peer;
  destination: Destination | undefined;
  /** The place behind cprkit's own session at the old QEMU's monitor, while it is ours. */
  place: number | undefined;
  /** Sockets that are held shut in the new QEMU. */
  readonly doors: Door[];
  /** Ends the new QEMU if we are killed before it holds these sockets itself. */
  watcher: Watcher | undefined;
  readonly journal: Journal;
  readonly timeoutMs: number;
  readonly warnings: string[];
  /** Aborted when the update ends in any way: what still waits for the tap gives up. */
  readonly over: AbortController;
  /** The old machine, while it is read: see ready.ts. */
  reading?: { readonly switches: ReadingOptions["switches"]; readonly old: Promise<Reading> };
  /** The old machine, as it was when it was compared. */
  machine: Machine | undefined;
  /** Which process was compared with the old one, how it was, and what need not be asked of it again. */
  built?: {
    readonly identity: ProcessIdentity;
    readonly switches: ReadingOptions["switches"];
    readonly reading: Reading;
  };
  readonly comparison: { -readonly [K in keyof UpdateComparison]: UpdateComparison[K] };
  fds: readonly CarriedFd[] | undefined;
  nonblockRestored: number;
  /** When the guest stopped and ran again, by the QEMUs' clocks, in microseconds. */
  stopUs: number | undefined;
  resumeUs: number | undefined;
  /** Just before the command that leads to the guest's stop, by performance.now(). */
  switchedMs: number | undefined;
  /** Undefined when it can't be told. */
  downtimeMs: number | undefined;
  readonly phases: { readonly step: UpdateStep; readonly ms: number }[];
  /** Writes the step down, does it, and tells the caller of it. */
  step(step: UpdateStep, act?: () => Promise<unknown>): Promise<void>;
}

/**
 * Steps that come before there is a journal, while the guest is stopped, or while the new QEMU builds its machine (see
 * handover/tap-settings.ts): nothing may wait for a disk then. And the last, which closes the journal.
 */
export const unwritten: ReadonlySet<UpdateStep> = new Set<UpdateStep>([
  ...(["inspected", "planned", "locked"] as const),
  ...(["migrating", "state-passed", "stopped", "saved", "replaced", "done"] as const),
]);

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
      await attempt(() => writeJournalMeanwhile(folder, run.journal));
    }
    await act?.();
    const now = performance.now();
    phases.push({ step, ms: now - before });
    before = now;
    await attempt(() => options.onStep?.(step, { source, destination: run?.destination?.identity.pid }));
  };
}

/** @throws CprkitError ERR_ABORTED */
export function throwIfAborted(signal: AbortSignal | undefined, step: string): void {
  if (signal?.aborted !== true) return;
  throw new CprkitError("ERR_ABORTED", `aborted before the step "${step}"`, { cause: signal.reason });
}

/**
 * Removes what the update put into its folder; of a guest that is lost, what is left of it stays. Never throws.
 *
 * @returns what could not be removed, in words
 */
export function removeFiles(journal: Journal, lost = false): string[] {
  const problems = journal.files.flatMap((file) => {
    if (lost && file === journal.stateFile) return [];
    try {
      rmSync(file, { force: true });
      return [];
    } catch (error) {
      return [`${file} is left over and could not be removed: ${String(error)}`];
    }
  });
  removeHandOverFolder(dirname(journal.log), journal.id);
  return problems;
}

/**
 * Where the two QEMUs meet: a file of the hand-over folder, as this process and as they call it.
 *
 * @throws CprkitError ERR_FILE when they do not see the folder
 */
export function meetingPlace({ prepared: { folder, vm }, journal: { id } }: Run): {
  here(kind: string): string;
  there(kind: string): string;
} {
  const path = handOverFolder(folder, id);
  const seen = inside(vm.process, path);
  if (seen === undefined) {
    const text = `${path}: the running QEMU, in a mount namespace of its own, does not see this folder`;
    throw new CprkitError("ERR_FILE", `${text}; name one with --state-dir that both see`);
  }
  return { here: (kind) => join(path, kind), there: (kind) => join(seen, kind) };
}

/** A path of this update in its hand-over folder. */
export function fileOf(folder: string, id: string, kind: string): string {
  return join(handOverFolder(folder, id), kind);
}

/** Turns what was thrown into an error of cprkit's. */
export function asCprkitError(error: unknown): CprkitError {
  if (isCprkitError(error)) return error;
  const text = error instanceof Error ? error.message : String(error);
  return new CprkitError("ERR_UPDATE_FAILED", text, { cause: error });
}
