// Which QEMU runs the guest, asked of the processes themselves: the journal only says where to look.

import { isCprkitError } from "../../vmstate/error.ts";
import type { UpdateModeName } from "../vm/binary.ts";
import { type OpenVm, openVm, type VmTarget } from "../vm/open.ts";
import { stateBase } from "../vm/state-dir.ts";
import { findAllMarked, findMarked } from "./peers/marked.ts";
import { askPeer, hasTakenOver, keepsGuest, type Peer, type PeerState, peerOf, releasePeer } from "./peers/peer.ts";
import { findJournal } from "./record/find.ts";
import { bootId, type Journal, listJournals, readJournal, removeJournal, removeOldLogs } from "./record/journal.ts";
import { type LockHolder, lockHolder, takeLock } from "./record/lock.ts";
import { keepFinished } from "./record/reports.ts";
import { hasReplaced } from "./settle.ts";
import type { UpdateStep } from "./steps.ts";

/** One of the QEMUs that a status is about. */
export interface QemuStatus extends PeerState {
  readonly pid: number;
  readonly version: string;
}

/** What is known of one VM. */
export interface VmStatus {
  /** The path of the QMP socket that people use. */
  readonly qmp: string;
  /**
   * Who has the guest: the old or the new QEMU of the last update, the only one there is ("source", without an
   * update), nobody, neither while the update is between the two, or not known because a QEMU does not answer.
   */
  readonly guest: "source" | "destination" | "nobody" | "handing-over" | "unknown";
  /** Of the QEMU that has the guest. */
  readonly pid: number | undefined;
  /** Its run state, such as "running". */
  readonly runState: string | undefined;
  readonly source: QemuStatus;
  readonly destination: QemuStatus | undefined;
  /** The last update, if cprkit made one. */
  readonly update:
    | {
        readonly mode: UpdateModeName;
        readonly startedAt: string;
        readonly step: UpdateStep;
        readonly outcome: "updated" | "rolled-back" | "lost" | "unfinished";
        readonly message: string | undefined;
        /** The process that is updating right now. */
        readonly holder: number | undefined;
      }
    | undefined;
  /** True when the update is over and both QEMUs have ended since, as after a shutdown: nothing is wrong. */
  readonly hasEnded: boolean;
  /** One sentence for people. */
  readonly text: string;
}

/** A folder whose journal can't be read. */
export interface StatusProblem {
  readonly folder: string;
  /** What is wrong, and the way out. */
  readonly text: string;
}

/** Options of {@link vmStatus} and {@link allStatus}. */
export interface StatusOptions {
  readonly target?: VmTarget | undefined;
  readonly stateDir?: string | undefined;
}

/**
 * Says which QEMU runs the guest of one VM; asks the QEMUs, changes nothing.
 *
 * @throws CprkitError as `openVm` when no update of this VM is known and no QEMU answers at its socket.
 */
export async function vmStatus(target: VmTarget, options: StatusOptions = {}): Promise<VmStatus> {
  const base = stateBase(options.stateDir, target.qmp);
  const found = base === undefined ? undefined : findJournal(base, target);
  const known = found === undefined ? undefined : await statusOf(found.folder, found.journal);
  // A journal of long ago says nothing of a VM that was started since.
  if (known !== undefined && (known.guest !== "nobody" || known.update?.outcome === "unfinished")) return known;
  let vm: OpenVm;
  try {
    vm = await openVm(target);
  } catch (error) {
    if (known === undefined) throw error;
    return known;
  }
  try {
    return await statusWithoutJournal(vm);
  } finally {
    await vm.qmp.close();
  }
}

/** What can be said of a QEMU of which no update is known here: there may be a journal in another folder. */
async function statusWithoutJournal(vm: OpenVm): Promise<VmStatus> {
  const { pid } = vm.process.identity;
  const { status } = await vm.qmp.execute("query-status");
  const { major, minor, micro } = vm.qmp.greeting.version;
  const version = `${major}.${minor}.${micro}`;
  const state: PeerState = { alive: true, run: status };
  const has = keepsGuest(state);
  return {
    qmp: vm.qmpPath,
    guest: has ? "source" : "unknown",
    pid: has ? pid : undefined,
    runState: has ? status : undefined,
    source: { ...state, pid, version },
    destination: undefined,
    update: undefined,
    hasEnded: false,
    text: `QEMU ${version} (pid ${pid}) ${has ? `has the guest: ${status}` : withoutGuest(status)}`,
  };
}

function withoutGuest(run: string): string {
  const others = findAllMarked().map(({ pid }) => pid);
  const hint = others.length === 0 ? "" : `; processes that updates of cprkit started: ${others.join(", ")}`;
  const what =
    run === "inmigrate"
      ? "waits for a guest (inmigrate) and does not run one"
      : `does not run the guest (${run}): it has saved it or given it to another QEMU`;
  return `${what}; which QEMU has it is unknown: no journal of an update is here${hint}. Before you end or continue any QEMU, find the one that runs the guest (--state-dir, if the update had one)`;
}

/**
 * The status of every VM that has a journal in the state folder, and the folders whose journal can't be read.
 *
 * @throws CprkitError ERR_FILE when other users can write to the state folder
 */
export async function allStatus(
  options: StatusOptions = {},
): Promise<{ readonly vms: VmStatus[]; readonly problems: StatusProblem[] }> {
  const base = stateBase(options.stateDir, undefined);
  if (base === undefined) return { vms: [], problems: [] };
  const { journals, problems } = listJournals(base);
  return {
    vms: await Promise.all(journals.map(({ folder, journal }) => statusOf(folder, journal))),
    problems: problems.map(({ folder, error }) => ({ folder, text: error.message })),
  };
}

/** Removes the journals of VMs that were updated and have been shut down since. @returns how many */
export async function forgetEnded(options: StatusOptions = {}): Promise<number> {
  const base = stateBase(options.stateDir, undefined);
  let count = 0;
  for (const { folder } of base === undefined ? [] : listJournals(base).journals) {
    try {
      const unlock = takeLock(folder);
      try {
        const journal = readJournal(folder);
        if (journal === undefined || !(await statusOf(folder, journal)).hasEnded) continue;
        keepFinished(folder, journal);
        removeJournal(folder);
        removeOldLogs(folder);
        count++;
      } finally {
        unlock();
      }
    } catch (error) {
      // An update has begun there, or the folder can't be written.
      if (!isCprkitError(error)) throw error;
    }
  }
  return count;
}

async function statusOf(folder: string, journal: Journal): Promise<VmStatus> {
  const isExec = journal.mode === "cpr-exec";
  const source = peerOf(journal.source);
  const destination = journal.destination === undefined || isExec ? undefined : peerOf(journal.destination);
  try {
    const [here, there] = await Promise.all([
      askTwice(source),
      destination === undefined ? undefined : askTwice(destination),
    ]);
    const guest = whoHas(journal, here, there);
    const { outcome } = journal;
    const hasEnded = guest === "nobody" && (outcome === "updated" || outcome === "rolled-back");
    const holder = lockHolder(folder);
    const who = guest === "destination" && !isExec ? journal.destination : journal.source;
    const has = guest === "source" || guest === "destination";
    const state = guest === "destination" && !isExec ? there : here;
    return {
      qmp: journal.publicQmp,
      guest,
      pid: has ? who?.pid : undefined,
      runState: has ? state?.run : undefined,
      source: { ...here, pid: journal.source.pid, version: journal.source.version },
      destination:
        there === undefined || journal.destination === undefined
          ? undefined
          : { ...there, pid: journal.destination.pid, version: journal.destination.version },
      update: {
        mode: journal.mode,
        startedAt: journal.startedAt,
        step: journal.step,
        outcome: journal.outcome ?? "unfinished",
        message: journal.message,
        holder: holder?.pid,
      },
      hasEnded,
      text: `${hasEnded ? "this VM has been shut down since" : guestText(guest, who?.pid, state?.run)}; ${updateText(journal, holder)}`,
    };
  } finally {
    await Promise.all([releasePeer(source), releasePeer(destination)]);
  }
}

/** Once more if it is silent: its monitor may still be closing the session of a client that has just gone. */
async function askTwice(peer: Peer): Promise<PeerState> {
  const state = await askPeer(peer, 2_000);
  return state.alive && state.run === undefined ? askPeer(peer, 3_000) : state;
}

function whoHas(journal: Journal, here: PeerState, there: PeerState | undefined): VmStatus["guest"] {
  if (journal.bootId !== bootId()) return "nobody";
  if (journal.mode === "cpr-exec") {
    if (!here.alive) return "nobody";
    if (here.run === undefined) return "unknown";
    if (hasReplaced(journal)) return hasTakenOver(here) ? "destination" : "handing-over";
    return keepsGuest(here) ? "source" : "handing-over";
  }
  if (there !== undefined && hasTakenOver(there)) return "destination";
  if (keepsGuest(here)) return "source";
  const isSilent = ({ alive, run }: PeerState) => alive && run === undefined;
  if (isSilent(here) || (there !== undefined && isSilent(there) && !keepsGuest(here))) return "unknown";
  if (here.alive || there?.alive === true) return "handing-over";
  // Something that was started before it could be written down.
  return findMarked(journal.id).length > 0 ? "unknown" : "nobody";
}

function guestText(guest: VmStatus["guest"], pid: number | undefined, run: string | undefined): string {
  switch (guest) {
    case "source":
      return `the old QEMU (pid ${pid}) has the guest: ${run}`;
    case "destination":
      return `the new QEMU (pid ${pid}) has the guest: ${run}`;
    case "nobody":
      return "no QEMU runs the guest";
    case "handing-over":
      return "the guest is stopped, between the two QEMUs";
    case "unknown":
      return "not known who runs the guest: a QEMU does not answer (does another client hold its monitor?)";
  }
}

function updateText({ step, mode, outcome, message }: Journal, holder: LockHolder | undefined): string {
  if (holder !== undefined) return `process ${holder.pid} is updating it (${mode}, step "${step}")`;
  if (outcome === "updated") return `the last update (${mode}) is done`;
  if (outcome === undefined) {
    return `an update (${mode}) stopped at "${step}": finish it with \`cprkit update --resume\` or --abort`;
  }
  const why = message === undefined ? "" : `: ${message}`;
  return outcome === "lost"
    ? `the last update (${mode}) lost the guest${why}`
    : `the last update (${mode}) was rolled back${why}`;
}
