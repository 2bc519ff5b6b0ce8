// One of the two QEMUs of an update, watched: what it says of itself, and how it is ended.

import { setTimeout as delay } from "node:timers/promises";
import { isRunning, type ProcessIdentity } from "../../../linux/index.ts";
import { endProcess } from "../../../linux/process/end-process.ts";
import { CprkitError, isCprkitError } from "../../../vmstate/error.ts";
import { connectQmp, type Qmp } from "../../qmp/client.ts";
import { isAnsweredBy } from "../../vm/answerer.ts";
import { servedByOther } from "../../vm/open.ts";
import type { JournalProcess } from "../record/journal.ts";

/** A QEMU of an update. */
export interface Peer {
  readonly identity: ProcessIdentity;
  readonly qmpPath: string;
  /** Its monitor, if it is connected. */
  qmp: Qmp | undefined;
  /** Set by {@link releasePeer}: nobody may connect any more, not even a question that is still on its way. */
  released?: boolean;
}

/** Hangs up for good. */
export async function releasePeer(peer: Peer | undefined): Promise<void> {
  if (peer === undefined) return;
  peer.released = true;
  await peer.qmp?.close();
}

/** What a QEMU is doing. Undefined fields: it did not say. */
export interface PeerState {
  readonly alive: boolean;
  /** Run state, such as "running". */
  readonly run?: string | undefined;
  /** Status of its migration, outgoing or incoming. */
  readonly migration?: string | undefined;
  readonly error?: string | undefined;
  /** Why it did not say. */
  readonly silence?: string | undefined;
}

/** The QEMU that a journal names, not connected. */
export function peerOf({ pid, startTime, qmp }: JournalProcess): Peer {
  return { identity: { pid, startTime: BigInt(startTime) }, qmpPath: qmp, qmp: undefined };
}

/** Asks for run state and migration, connecting first if need be. Never throws: silence is an answer, too. */
export async function askPeer(peer: Peer, timeoutMs = 5_000): Promise<PeerState> {
  if (!isAlive(peer)) return { alive: false };
  try {
    const qmp = await monitorOf(peer, timeoutMs);
    const [status, migration] = await Promise.all([
      qmp.execute("query-status", undefined, { timeoutMs }),
      qmp.execute("query-migrate", undefined, { timeoutMs }),
    ]);
    return { alive: true, run: status.status, migration: migration.status, error: migration["error-desc"] };
  } catch (error) {
    if (!isCprkitError(error)) throw error;
    // It may have died of what it was asked, or just before: that takes a moment.
    const hungUp = ["ERR_QEMU_EXITED", "ERR_PEER", "ERR_QMP"].includes(error.code);
    for (let wait = 0; hungUp && wait < 20 && isAlive(peer); wait++) await delay(10);
    return isAlive(peer) ? { alive: true, silence: error.message } : { alive: false };
  }
}

/** What can't be looked at (no fd is left) has not ended for that. */
function isAlive({ identity }: Peer): boolean {
  try {
    return isRunning(identity);
  } catch (error) {
    if (isCprkitError(error)) return true;
    throw error;
  }
}

/** The monitor, connected. @throws CprkitError as `connectQmp` */
export async function monitorOf(peer: Peer, timeoutMs = 5_000): Promise<Qmp> {
  const { qmp } = peer;
  if (qmp !== undefined && !(await hasEnded(qmp))) return qmp;
  if (peer.released === true) throw new CprkitError("ERR_ABORTED", `${peer.qmpPath}: not needed any more`);
  const opened = await connectQmp(peer.qmpPath, { timeoutMs });
  if (peer.released) {
    await opened.close();
    throw new CprkitError("ERR_ABORTED", `${peer.qmpPath}: not needed any more`);
  }
  peer.qmp = await expectServedBy(peer, opened);
  return opened;
}

/** The path may be another process's by now. @throws CprkitError ERR_QMP, and hangs up, if it is */
export async function expectServedBy({ identity, qmpPath }: Peer, qmp: Qmp): Promise<Qmp> {
  if (isAnsweredBy(qmp, identity)) return qmp;
  await qmp.close();
  throw servedByOther(qmp, qmpPath, identity);
}

/** Whether a session is over. */
export function hasEnded(qmp: Qmp): Promise<boolean> {
  return Promise.race([
    qmp.closed.then(() => true),
    new Promise<boolean>((resolve) => setImmediate(() => resolve(false))),
  ]);
}

/** True when the guest is the destination's: it runs there, or was loaded there and is paused as it was before. */
export function hasTakenOver({ run, migration }: PeerState): boolean {
  if (run === undefined) return false;
  return run === "running" || (migration === "completed" && run !== "inmigrate");
}

/** True when the source has the guest and has not given it up. */
export function keepsGuest({ alive, run }: PeerState): boolean {
  return alive && run !== undefined && !["inmigrate", "postmigrate", "finish-migrate"].includes(run);
}

/** Ends a QEMU for certain and waits until it is gone. Never throws. @returns why it still runs, in words */
export function killPeer({ identity }: Peer): Promise<string | undefined> {
  return endProcess(identity, ["SIGKILL"], 10_000);
}
