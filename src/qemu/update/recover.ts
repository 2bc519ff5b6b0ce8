// Finishes an update whose cprkit was killed: forward if the new QEMU has the guest, else back.

import { basename, dirname, join } from "node:path";
import { closeFd, connectUnix, getPeerCredentials, isRunning } from "../../linux/index.ts";
import { CprkitError, isCprkitError } from "../../vmstate/error.ts";
import { freeSource } from "../handover/doors.ts";
import { realPath, throughRootOf } from "../namespaces/paths.ts";
import type { VmTarget } from "../vm/open.ts";
import { endStrayProbes } from "../vm/probe-mark.ts";
import { stateBase } from "../vm/state-dir.ts";
import { goForward } from "./finish.ts";
import { removeNames } from "./names.ts";
import type { UpdateOptions, UpdateReport } from "./options.ts";
import { findMarked } from "./peers/marked.ts";
import { type Peer, peerOf, releasePeer } from "./peers/peer.ts";
import { giveBack } from "./peers/tell.ts";
import { replaceableBy } from "./record/checked-folder.ts";
import { findJournal } from "./record/find.ts";
import { bootId, closeJournal, type Journal, removeJournal, saveJournal } from "./record/journal.ts";
import { takeLock } from "./record/lock.ts";
import { fileOf, removeFiles } from "./run.ts";
import { type Settled, settle } from "./settle.ts";
import { updateVm } from "./update.ts";

/** How an interrupted update ended. */
export interface Recovery {
  /**
   * "updated": the new QEMU had the guest already, or the update was done anew. "outdated": both QEMUs of that update
   * have ended, and one that was started since serves the VM's socket; it was left alone.
   */
  readonly outcome: "updated" | "rolled-back" | "lost" | "outdated";
  /** Of the QEMU that runs the guest. */
  readonly pid: number | undefined;
  readonly why: string;
  readonly warnings: readonly string[];
  /** Of the update that was done anew. */
  readonly report: UpdateReport | undefined;
}

/** Options of {@link resumeUpdate} and {@link abortUpdate}: of a new update what it may need. */
export type RecoverOptions = Pick<UpdateOptions, "stateDir" | "signal" | "onStep" | "hooks" | "timeoutMs">;

/**
 * Takes an interrupted update back. If the new QEMU has the guest already, it is too late for that: the update is
 * finished instead, and the outcome says "updated".
 *
 * @throws CprkitError ERR_UPDATE_REFUSED when there is none, or another process works at it; ERR_UPDATE_FAILED when a
 * QEMU that may have the guest does not answer (try again later), or ending the old one would be wrong.
 */
export function abortUpdate(target: VmTarget, options: RecoverOptions = {}): Promise<Recovery> {
  endStrayProbes();
  return recover(target, options);
}

/**
 * Finishes an interrupted update: forward if the new QEMU has the guest; else it is taken back and done anew, as it was
 * asked for.
 *
 * @throws CprkitError as {@link abortUpdate}, and what {@link updateVm} throws.
 */
export async function resumeUpdate(target: VmTarget, options: RecoverOptions = {}): Promise<Recovery> {
  endStrayProbes();
  const { journal } = await find(target, options);
  refuseReplaceable(journal);
  const recovery = await recover(target, options);
  if (recovery.outcome !== "rolled-back") return recovery;
  const { qemu, command, mode, allow, timeoutMs } = journal.request;
  const again = { timeoutMs, ...options, qemu, command, mode, allow, key: journal.key };
  const report = await updateVm({ qmp: journal.source.qmp }, again);
  return { ...recovery, outcome: "updated", pid: report.pid, report };
}

/** The program was chosen when the update was asked for: nobody else may have put another one in its place since. */
function refuseReplaceable({ request: { qemu, command }, owner, publicQmp }: Journal): void {
  const program = command?.[0] ?? qemu;
  // A bare name is looked for in our own PATH; without a name it is what the running QEMU's user chose, with its rights.
  if (program?.includes("/") !== true) return;
  const fault = replaceableBy(program, owner?.uid ?? 0);
  if (fault === undefined) return;
  throw new CprkitError(
    "ERR_UPDATE_REFUSED",
    `the new QEMU that this update was asked for may have been replaced by another user (${fault}): take the update ` +
      `back with \`cprkit update --abort --qmp ${publicQmp}\`, and ask for it anew with --qemu`,
  );
}

async function find(
  target: VmTarget,
  { stateDir }: RecoverOptions,
): Promise<{ readonly folder: string; readonly journal: Journal }> {
  const base = stateBase(stateDir, target.qmp);
  const found = base === undefined ? undefined : (findJournal(base, target) ?? (await findByServer(base, target)));
  if (found !== undefined && found.journal.outcome === undefined) return found;
  throw new CprkitError(
    "ERR_UPDATE_REFUSED",
    `there is no unfinished update of this VM${base === undefined ? "" : ` in ${base}`}: nothing to do`,
  );
}

async function recover(target: VmTarget, options: RecoverOptions): Promise<Recovery> {
  const { folder } = await find(target, options);
  const unlock = takeLock(folder);
  const opened: Peer[] = [];
  try {
    // Read again: whoever held the lock until now may have finished it.
    const { journal } = await find(target, options);
    const source = peerOf(journal.source);
    const destination = destinationOf(journal);
    const outdated = await outdatedBy(folder, journal, source, destination);
    if (outdated !== undefined) return outdated;
    if (destination !== undefined) freeSource(source.identity, destination.identity, journal.doors ?? []);
    opened.push(source, ...(destination === undefined ? [] : [destination]));
    const settled = await settle({
      journal,
      source,
      destination,
      sawAll: false,
      timeoutMs: options.timeoutMs ?? journal.request.timeoutMs,
    });
    return await close(folder, journal, settled, source, destination);
  } finally {
    await Promise.all(opened.map(releasePeer));
    unlock();
  }
}

/** Of a QEMU that was named by another monitor than the update was. */
async function findByServer(base: string, { qmp }: VmTarget): Promise<ReturnType<typeof findJournal>> {
  const pid = qmp === undefined ? undefined : await serverOf(qmp);
  return pid === undefined ? undefined : findJournal(base, { pid });
}

/** When nothing of the update is left, another QEMU may run the guest: "lost" would be wrong, and do harm. */
async function outdatedBy(
  folder: string,
  journal: Journal,
  source: Peer,
  destination: Peer | undefined,
): Promise<Recovery | undefined> {
  const isOver = ({ identity }: Peer) => journal.bootId !== bootId() || !isRunning(identity);
  if (!isOver(source) || (destination !== undefined && !isOver(destination))) return undefined;
  const { publicQmp, startedAt } = journal;
  const pid = await serverOf(publicQmp);
  if (pid === undefined && journal.bootId === bootId()) return undefined;
  const warnings = removeFiles(journal, true);
  removeJournal(folder);
  const now =
    pid === undefined ? `nothing serves ${publicQmp} now` : `process ${pid}, started since, serves ${publicQmp}`;
  const when = journal.bootId === bootId() ? "" : "; the machine was restarted since";
  const why = `the QEMUs of the update of ${startedAt} have ended${when}; ${now}: it was left alone, and the old journal removed`;
  return { outcome: "outdated", pid, why, warnings, report: undefined };
}

/** The process that accepts connections there. */
async function serverOf(path: string): Promise<number | undefined> {
  let fd: number;
  try {
    fd = await connectUnix(realPath(path), { timeoutMs: 2_000 });
  } catch (error) {
    if (isCprkitError(error)) return undefined;
    throw error;
  }
  try {
    return getPeerCredentials(fd).pid;
  } finally {
    closeFd(fd);
  }
}

/** The destination of the journal, or one that was started but not written down any more. */
function destinationOf(journal: Journal): Peer | undefined {
  if (journal.mode === "cpr-exec") return undefined;
  const marked = findMarked(journal.id);
  if (journal.destination !== undefined) {
    const peer = peerOf(journal.destination);
    // Whatever the journal says, only what this update started may be ended.
    if (!isRunning(peer.identity) || marked.some(({ pid }) => pid === peer.identity.pid)) return peer;
    throw new CprkitError(
      "ERR_UPDATE_FAILED",
      `process ${peer.identity.pid} was not started by this update, although its journal says so: nothing was changed; ` +
        "see with ps which QEMU runs the guest",
    );
  }
  const [identity] = marked;
  const { source, moved, qmpInside } = journal;
  const name = moved.find(({ old }) => old === (qmpInside ?? source.qmp))?.new;
  if (identity === undefined) return undefined;
  if (name === undefined) return { identity, qmpPath: fileOf(dirname(journal.log), journal.id, "q"), qmp: undefined };
  // In the folder of the old one's, as that is reached from here.
  const path = qmpInside === undefined ? name : join(dirname(source.qmp), basename(name));
  return { identity, qmpPath: throughRootOf(path, source.pid, identity.pid), qmp: undefined };
}

async function close(
  folder: string,
  journal: Journal,
  { guest, why }: Settled,
  source: Peer,
  destination: Peer | undefined,
): Promise<Recovery> {
  const warnings: string[] = [];
  const write = () => {
    const problem = saveJournal(folder, journal);
    if (problem !== undefined) warnings.push(problem);
  };
  if (guest === "unsettled") {
    write();
    throw new CprkitError("ERR_UPDATE_FAILED", `the update can't be finished yet: ${why}; try again when it answers`);
  }
  if (guest === "destination") {
    const owner = destination ?? source;
    journal.step = "running";
    write();
    await goForward({
      journal,
      source,
      destination: owner,
      step: async (step, act) => {
        await act();
        journal.step = step;
        write();
      },
      warn: (text) => warnings.push(text),
    });
    warnings.push(...removeFiles(journal));
    const unclosed = closeJournal(folder, journal, "updated", why);
    if (unclosed !== undefined) warnings.push(unclosed);
    return { outcome: "updated", pid: owner.identity.pid, why, warnings, report: undefined };
  }
  const outcome = guest === "source" ? "rolled-back" : "lost";
  if (guest === "source") warnings.push(...(await giveBack(source, journal)));
  warnings.push(...removeNames(journal, source), ...removeFiles(journal, guest === "lost"));
  const unclosed = closeJournal(folder, journal, outcome, why);
  if (unclosed !== undefined) warnings.push(unclosed);
  return { outcome, pid: guest === "source" ? source.identity.pid : undefined, why, warnings, report: undefined };
}
