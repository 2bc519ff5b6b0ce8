// Sees to it that a VM runs in a certain QEMU, however often and by how many it is asked: looks, waits for whoever is at
// work, finishes what was cut off, compares, and only then updates.

import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { isSameProgram } from "../../linux/process/program-file.ts";
import { CprkitError, type ErrorCode, isCprkitError } from "../../vmstate/error.ts";
import { publicName } from "../command-line/derive.ts";
import { realPath } from "../namespaces/paths.ts";
import { askNext } from "../preflight/facts.ts";
import type { UpdateOptions, UpdateReport } from "../update/options.ts";
import { findJournal } from "../update/record/find.ts";
import { makeFolder } from "../update/record/journal.ts";
import { isHeldError, lockHolder, takeLock } from "../update/record/lock.ts";
import { type JournalReport, keepFinished, keepReport, qmpOfRequest, reportFor } from "../update/record/reports.ts";
import { abortUpdate, type Recovery } from "../update/recover.ts";
import { asCprkitError } from "../update/run.ts";
import { type VmStatus, vmStatus } from "../update/status.ts";
import { updateVm } from "../update/update.ts";
import type { VmTarget } from "../vm/open.ts";
import { programOf, readVmProcess } from "../vm/process.ts";
import { stateBase, vmFolder } from "../vm/state-dir.ts";

/** What {@link ensureUpdated} came to. */
export type EnsureResult =
  /** The VM was updated. */
  | "updated"
  /** It ran in that QEMU already. */
  | "nothing-to-do"
  /** Something is in the way that does not pass by itself; the guest runs as before. */
  | "refused"
  /** It did not work this time, or somebody else is at work for too long; the guest runs as before. */
  | "try-again"
  /** No QEMU runs the guest. */
  | "lost";

/** The answer of {@link ensureUpdated}. */
export interface Ensured {
  readonly result: EnsureResult;
  /** One sentence for people. */
  readonly text: string;
  /** Of the QEMU that runs the guest, as far as it is known. */
  readonly pid?: number | undefined;
  /** The path of the QMP socket that people use. */
  readonly qmp?: string | undefined;
  /** An update that had been cut off was finished first, or taken back. */
  readonly recovered?: Recovery["outcome"] | undefined;
  /** Of the update that was made. */
  readonly report?: UpdateReport | undefined;
  /** In its place, when the caller for whom it was made was killed before it could report. */
  readonly fromJournal?: JournalReport | undefined;
  /** Why it was not made. */
  readonly error?: { readonly code: ErrorCode; readonly message: string } | undefined;
  /** This is the answer to an earlier request with the same key. */
  readonly repeated: boolean;
}

/** Options of {@link ensureUpdated}: of the update what it may need. */
export interface EnsureOptions extends Omit<UpdateOptions, "command"> {
  /**
   * Names this request: who asks again with the same key gets the first answer, unless that was "refused" or "try-again".
   * Answers are kept in the VM's folder in the state folder, the last 20. It stands in the update's journal, too: where the
   * first caller was killed before it could answer, that says what is known.
   */
  readonly key?: string | undefined;
  /** Longest wait in ms for somebody else who is at work on this VM, or holds its monitor. Default: 300 s. */
  readonly waitMs?: number | undefined;
}

/**
 * Sees to it that a VM runs in the QEMU that `qemu` starts; may be called any number of times, by several processes at once,
 * and after any of them was killed. The VM is updated once at most.
 *
 * Programs are compared by what they are: the running process's file and that of the process that `qemu` starts, so behind a
 * wrapper script the QEMU itself. The same file is the same, and the same build in another file (a copy, the same package
 * once more). A program that was built anew is another one, of the same version, too.
 *
 * @throws CprkitError ERR_USAGE, ERR_ABORTED, ERR_FILE, ERR_FFI_UNAVAILABLE; all else is an answer
 */
export async function ensureUpdated(target: VmTarget, options: EnsureOptions = {}): Promise<Ensured> {
  const { waitMs = 300_000, stateDir, signal } = options;
  const state: State = { sharing: options.sharing ?? {}, end: performance.now() + waitMs };
  const folderOf = (qmp: string | undefined) => {
    const base = qmp === undefined ? undefined : stateBase(stateDir, qmp);
    return base === undefined || qmp === undefined ? undefined : vmFolder(base, publicName(realPath(qmp)));
  };
  // Reports are found by the socket's name, and the process may be another one by the next time.
  const { qmp = (await nameOf(target, stateDir)) ?? nameOfRequest(target, options) } = target;
  for (let named = qmp === undefined ? target : { ...target, qmp }; ; ) {
    const folder = folderOf(named.qmp);
    const step =
      earlier(folder, options, state) ??
      (await alone(folder, async () => {
        // Who has asked for it and lives keeps its answer itself, before it lets go of the lock.
        keepJournalled(named, options);
        const before = earlier(folder, options, state);
        if (before !== undefined) return before;
        const made = await attempt(named, options, state);
        return "result" in made ? kept(folderOf(made.qmp ?? named.qmp), made, options, state) : made;
      }));
    if ("result" in step) return step;
    if (performance.now() > Math.min(state.end, step.until ?? Number.POSITIVE_INFINITY)) {
      return { result: "try-again", text: step.why, error: step.error, recovered: state.recovered, repeated: false };
    }
    if (step.qmp !== undefined) named = { qmp: step.qmp };
    await delay(pauseMs, undefined, { signal }).catch((cause: unknown) => {
      throw new CprkitError("ERR_ABORTED", `aborted while waiting: ${step.why}`, { cause });
    });
  }
}

/** Who it is that can't be asked is said later. */
function nameOf(target: VmTarget, stateDir: string | undefined): Promise<string | undefined> {
  return vmStatus(target, { stateDir }).then(
    ({ qmp }) => qmp,
    () => undefined,
  );
}

/** The process that the request named ends with the update, whose answer may have been lost. */
function nameOfRequest({ pid }: VmTarget, { key, stateDir }: EnsureOptions): string | undefined {
  const base = stateBase(stateDir, undefined);
  return key === undefined || pid === undefined || base === undefined ? undefined : qmpOfRequest(base, key, pid);
}

interface State {
  readonly sharing: object;
  /** By performance.now(). */
  readonly end: number;
  recovered?: Recovery["outcome"];
  /** Since when nobody has served the VM's socket. */
  unreachable?: number;
}

type Answer = Omit<Ensured, "recovered" | "repeated">;

/** Not yet: why, and what to name next time. */
interface Wait {
  readonly why: string;
  readonly qmp?: string | undefined;
  readonly error?: Ensured["error"];
  /** Not longer than this, by performance.now(). */
  readonly until?: number | undefined;
}

const pauseMs = 200;
/** For so long a socket may be missing while an update hands its name over. */
const unreachableMs = 5_000;
const isFinal: ReadonlySet<EnsureResult> = new Set<EnsureResult>(["updated", "nothing-to-do", "lost"]);

/** The answer to the same request before. */
function earlier(folder: string | undefined, { key }: EnsureOptions, { recovered }: State): Ensured | undefined {
  const before = key === undefined || folder === undefined ? undefined : reportFor(folder, key);
  if (before === undefined) return undefined;
  const answer = { ...(before as unknown as Ensured), repeated: recovered !== "updated" };
  return recovered === undefined ? answer : { ...answer, recovered };
}

/** Of an update whose caller was killed when it was over, or whose end was made by somebody else. */
function keepJournalled(target: VmTarget, { key, stateDir }: EnsureOptions): void {
  const base = key === undefined ? undefined : stateBase(stateDir, target.qmp);
  const found = base === undefined ? undefined : findJournal(base, target);
  if (found !== undefined) keepFinished(found.folder, found.journal);
}

/** Gives the answer also where it can't be kept: the journal has the key. */
function kept(folder: string | undefined, made: Answer, { key }: EnsureOptions, { recovered }: State): Ensured {
  const answer: Ensured = { ...made, recovered, repeated: false };
  if (key === undefined || folder === undefined || !isFinal.has(answer.result)) return answer;
  try {
    keepReport(folder, key, answer);
    return answer;
  } catch (error) {
    return { ...answer, text: `${answer.text}; ${asCprkitError(error).message}` };
  }
}

/** One at a time looks at a VM: its monitor has one client, and who is at work is seen without asking QEMU. */
async function alone<T>(folder: string | undefined, work: () => Promise<T>): Promise<T | Wait> {
  if (folder === undefined) return work();
  const holder = lockHolder(folder);
  if (holder !== undefined) return { why: `process ${holder.pid} is updating this VM` };
  let unlock: () => void;
  try {
    unlock = takeLock(makeFolder(join(makeFolder(folder), "ensure")));
  } catch (error) {
    if (!isHeldError(error)) throw error;
    return { why: "another cprkit ensure is looking at this VM" };
  }
  try {
    return await work();
  } finally {
    unlock();
  }
}

async function attempt(target: VmTarget, options: EnsureOptions, state: State): Promise<Answer | Wait> {
  const { stateDir } = options;
  let status: VmStatus;
  try {
    status = await vmStatus(target, { stateDir });
  } catch (error) {
    return unreachable(asCprkitError(error), state);
  }
  delete state.unreachable;
  const { qmp, pid, update } = status;
  if (update?.holder !== undefined) return { why: `process ${update.holder} is updating this VM`, qmp };
  if (update?.outcome === "unfinished") return recover(qmp, options, state);
  if (status.guest === "nobody") {
    const result = update?.outcome === "lost" ? "lost" : "refused";
    return { result, text: status.text, qmp };
  }
  if (pid === undefined) return { why: status.text, qmp };
  const running = readVmProcess(pid);
  const next = await askNext(running, { ...options, sharing: state.sharing });
  if ("error" in next.said) return refusal(next.said.error, { pid, qmp });
  const { program: wanted } = next.said;
  if (wanted === undefined) {
    const text = `it can't be seen which program ${next.program} starts: run as root, or as the user of its process`;
    return { result: "refused", text, pid, qmp };
  }
  const runsIt = (one: number) => isSameProgram(programOf(one), wanted);
  if (!runsIt(pid)) return updateUnlessDone(qmp, options, state, runsIt);
  return { result: "nothing-to-do", text: `the guest runs in this QEMU already (pid ${pid})`, pid, qmp };
}

/** The socket may be missing for a moment; its monitor may be somebody else's for long. */
function unreachable(error: CprkitError, state: State): Answer | Wait {
  const said = { code: error.code, message: error.message };
  if (error.code === "ERR_UPDATE_REFUSED") return { result: "refused", text: error.message, error: said };
  if (!passing.has(error.code)) throw error;
  if (error.errno !== "ENOENT" && error.errno !== "ECONNREFUSED") return { why: error.message, error: said };
  state.unreachable ??= performance.now();
  return { why: error.message, error: said, until: state.unreachable + unreachableMs };
}

const passing: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "ERR_QMP",
  "ERR_TIMEOUT",
  "ERR_QEMU_EXITED",
  "ERR_SYSCALL",
]);

/** What was cut off is finished if it is too late to take it back: whether it was the right QEMU is seen afterwards. */
async function recover(qmp: string, { stateDir, signal, timeoutMs, hooks }: EnsureOptions, state: State) {
  try {
    const { outcome, why } = await abortUpdate({ qmp }, { stateDir, signal, timeoutMs, hooks });
    state.recovered = outcome;
    if (outcome === "lost") return { result: "lost", text: why, qmp } as const;
    return { why, qmp };
  } catch (error) {
    const { code, message } = asCprkitError(error);
    if (code === "ERR_ABORTED") throw error;
    // Somebody else is at it, or a QEMU does not answer yet.
    return { why: message, qmp, error: { code, message } };
  }
}

async function updateUnlessDone(
  qmp: string,
  options: EnsureOptions,
  state: State,
  isDone: (pid: number) => boolean,
): Promise<Answer | Wait> {
  const done = new CprkitError("ERR_UPDATE_REFUSED", "somebody else has updated it meanwhile");
  const { waitMs: _, ...asked } = options;
  try {
    const report = await updateVm(
      { qmp },
      {
        ...asked,
        sharing: state.sharing,
        onStep: async (step, pids) => {
          // Nobody else can update it from here on.
          if (step === "locked" && isDone(pids.source)) throw done;
          await options.onStep?.(step, pids);
        },
      },
    );
    const { from, to, pid } = report;
    return { result: "updated", text: `QEMU ${from} was replaced by ${to} (pid ${pid})`, pid, qmp: report.qmp, report };
  } catch (error) {
    if (error === done) return { why: done.message, qmp };
    return failed(asCprkitError(error), qmp, options);
  }
}

/** Where the guest is now, and whether it can work by itself the next time. */
async function failed(error: CprkitError, qmp: string, { stateDir }: EnsureOptions): Promise<Answer | Wait> {
  const said = { code: error.code, message: error.message };
  if (error.code === "ERR_ABORTED" || error.code === "ERR_USAGE") throw error;
  if (isHeldError(error)) return { why: error.message, qmp, error: said };
  const status = await vmStatus({ qmp }, { stateDir }).catch(() => undefined);
  const where = { pid: status?.pid, qmp };
  if (error.code === "ERR_UPDATE_FAILED") {
    const isLost = status?.guest === "nobody";
    if (isCprkitError(error.cause, "ERR_ABORTED")) throw error;
    return { result: isLost ? "lost" : "try-again", text: error.message, error: said, ...where };
  }
  if (status?.update?.outcome === "unfinished") return { why: error.message, qmp, error: said };
  if (passing.has(error.code)) return { why: error.message, qmp, error: said };
  return refusal(error, where);
}

function refusal(error: CprkitError, where: Pick<Ensured, "pid" | "qmp">): Answer {
  if (error.code === "ERR_ABORTED") throw error;
  const result = error.code === "ERR_TIMEOUT" ? "try-again" : "refused";
  return { result, text: error.message, error: { code: error.code, message: error.message }, ...where };
}
