// After a failure, or after cprkit itself was killed: finds out which QEMU has the guest, makes sure that the other
// one can never run it, and brings the guest back if that is certain to be right. The rules are those of
// docs/decisions/0008-update-state-machine.md.

import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { endMarked } from "./peers/marked.ts";
import { askPeer, hasTakenOver, keepsGuest, killPeer, type Peer, type PeerState } from "./peers/peer.ts";
import { tell } from "./peers/tell.ts";
import type { Journal } from "./record/journal.ts";
import { isBefore, mayHaveBegun } from "./steps.ts";

/** Where the guest is. */
export interface Settled {
  /** "unsettled": a QEMU lives but does not answer; the journal stays, for a later try. */
  readonly guest: "source" | "destination" | "lost" | "unsettled";
  readonly why: string;
  /** "unsettled": the new QEMU may have the guest, so nothing that the update has started may be ended. */
  readonly mayBeThere?: true;
}

/** What settling needs to know. */
export interface Unsettled {
  readonly journal: Journal;
  readonly source: Peer;
  /** The source itself in cpr-exec. */
  readonly destination: Peer | undefined;
  /** True when the destination's events have been seen from before it could start. */
  readonly sawAll: boolean;
  readonly timeoutMs: number;
}

const pollMs = 20;
const continueAgainMs = 200;
const inProgress = new Set(["setup", "active", "pre-switchover", "device", "cancelling", "failing", "wait-unplug"]);

/** Settles where the guest is; see above. Never throws: what can't be found out is "unsettled". */
export async function settle(state: Unsettled): Promise<Settled> {
  try {
    const settled = state.journal.mode === "cpr-exec" ? await settleExec(state) : await settlePair(state);
    if (settled.guest === "destination" || settled.mayBeThere === true) return settled;
    // A wrapper that did not exec leaves its QEMU behind when it is killed.
    const left = await endMarked(state.journal.id, [state.source.identity.pid]);
    if (left.length === 0) return settled;
    const guest = settled.guest === "source" ? "unsettled" : settled.guest;
    return { guest, why: `${settled.why}; ${left.join("; ")}` };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { guest: "unsettled", why: `it can't be found out which QEMU has the guest: ${why}` };
  }
}

async function settlePair(state: Unsettled): Promise<Settled> {
  const { source, destination, journal } = state;
  const first = await askPeer(source);
  // Still running there: cancelled first, the source does not even try to connect. A refusal means that it is over.
  if (keepsGuest(first) && isOwn(journal) && isInProgress(first)) await tell(source, "migrate_cancel");
  if (destination !== undefined) {
    let there = await askPeer(destination, 2_000);
    if (there.alive && hasResumed(destination) && !keepsGuest(first)) {
      return { guest: "destination", why: "the new QEMU has started the guest" };
    }
    let isHeld = false;
    if (there.alive && !hasTakenOver(there)) {
      // From here on it can't start by itself, whatever arrives (QEMU 10.0 monitor/qmp-cmds.c, qmp_stop).
      if (there.run !== undefined) isHeld = (await tell(destination, "stop")) === undefined;
      there = await askPeer(destination, 2_000);
    }
    if (there.alive && hasTakenOver(there)) {
      const taken = await keepTaken(state, there);
      if (taken !== undefined) return taken;
    }
    if (there.alive && there.run === undefined && (await mayHaveGuest(state, first))) {
      const why = `the new QEMU may have the guest, but does not answer: ${there.silence}`;
      return { guest: "unsettled", why, mayBeThere: true };
    }
    if (isHeld && there.run === "inmigrate" && !hasResumed(destination)) journal.neverRan = true;
    const left = await killPeer(destination);
    if (left !== undefined) return { guest: "unsettled", why: `${await hasIt(source)}; ${left}` };
  }
  return backToSource(state, journal);
}

function isInProgress({ migration }: PeerState): boolean {
  return inProgress.has(migration ?? "");
}

/** Whether what the source migrates can be this update's: another client's is not to be cancelled. */
function isOwn({ begun, mode, step }: Journal): boolean {
  return begun ?? mayHaveBegun(mode, step);
}

/** What the source does is another client's doing: it migrates, or has done so, and not for this update. */
function isOthers(journal: Journal, here: PeerState): boolean {
  return !isOwn(journal) && (isInProgress(here) || !keepsGuest(here));
}

function leftAlone(here: PeerState): Settled {
  const what = keepsGuest(here) ? "has the guest" : "has given the guest away";
  const why = `the old QEMU ${what} (${here.run}); another client's migration (${here.migration}) was left alone`;
  return { guest: "source", why };
}

async function hasIt(source: Peer): Promise<string> {
  const here = await askPeer(source);
  return keepsGuest(here)
    ? `the old QEMU (pid ${source.identity.pid}) has the guest (${here.run})`
    : `the old QEMU does not run the guest (${here.run ?? here.silence ?? "it has ended"})`;
}

/** The destination has the guest: unless the source has it as well, in which case the source's is the older right. */
async function keepTaken({ source, destination, journal }: Unsettled, there: PeerState): Promise<Settled | undefined> {
  const here = await askPeer(source);
  if (keepsGuest(here) && there.run !== "running") return undefined;
  if (destination !== undefined && there.run === "paused" && journal.runState === "running") {
    await tell(destination, "cont");
  }
  return { guest: "destination", why: "the new QEMU has taken the guest over" };
}

async function backToSource(state: Unsettled, journal: Journal): Promise<Settled> {
  const { source, destination } = state;
  const resumed = destination !== undefined && hasResumed(destination);
  const start = performance.now();
  let cancelled = false;
  for (;;) {
    const here = await askPeer(source);
    if (!here.alive) return { guest: "lost", why: "the old QEMU has ended, and the new one had not taken over" };
    const spent = performance.now() - start;
    if (here.run === undefined) {
      if (spent > state.timeoutMs) return { guest: "unsettled", why: `the old QEMU does not answer: ${here.silence}` };
    } else if (isOthers(journal, here)) {
      return leftAlone(here);
    } else if (!isInProgress(here)) {
      if (keepsGuest(here)) {
        const stale = resumed ? "; it had run in the new one for a moment: check it" : "";
        return { guest: "source", why: `the old QEMU has the guest (${here.run})${stale}` };
      }
      if (here.run === "postmigrate") return mayContinue(state, journal, resumed);
      if (spent > state.timeoutMs) return { guest: "unsettled", why: `the old QEMU stays in ${here.run}` };
    } else if (spent > 1_000 && !cancelled) {
      cancelled = true;
      await tell(source, "migrate_cancel");
    } else if (spent > state.timeoutMs) {
      return { guest: "unsettled", why: `the old QEMU's migration stays ${here.migration}` };
    }
    await delay(pollMs);
  }
}

function hasResumed({ qmp }: Peer): boolean {
  return qmp?.events().some(({ name }) => name === "RESUME") === true;
}

/**
 * Of a destination that lives and does not answer, on a busy host for example. That the old QEMU was told of the end is no
 * proof that the new one has started the guest: only its own word is. One that was never told to load has none.
 */
async function mayHaveGuest({ source, journal, sawAll }: Unsettled, first: PeerState): Promise<boolean> {
  if (journal.returnPath && first.run === "postmigrate") return true;
  const here = await askPeer(source);
  if (keepsGuest(here) || isInProgress(here)) return false;
  return !wasNotTold(journal) && (journal.returnPath || !sawAll);
}

function wasNotTold({ mode, step }: Journal): boolean {
  return isBefore(mode, step, mode === "cpr-reboot" ? "loading" : "switching");
}

/** The source gave the guest up: it may go on only if nobody else can have moved the guest on since. */
async function mayContinue(state: Unsettled, journal: Journal, resumed: boolean): Promise<Settled> {
  const isCertain = journal.neverRan === true;
  const objections = [
    ...(resumed ? ["the guest ran in the new QEMU"] : []),
    ...(journal.returnPath && !isCertain ? ["the old QEMU was told that the new one had started the guest"] : []),
    ...(state.sawAll || wasNotTold(journal) || isCertain
      ? []
      : ["nobody saw whether the new QEMU had started the guest"]),
    ...(journal.vfio ? ["the old QEMU has given up its vfio devices"] : []),
  ];
  if (objections.length > 0) {
    const why = `the new QEMU has ended, and the old one must not go on from its old state: ${objections.join("; ")}`;
    return { guest: "lost", why };
  }
  if (journal.runState !== "running") return { guest: "source", why: "the old QEMU has the guest (paused, as before)" };
  const end = performance.now() + state.timeoutMs;
  for (;;) {
    const refused = await tell(state.source, "cont");
    if (refused === undefined) return { guest: "source", why: "the old QEMU runs the guest again" };
    // Whoever has a lock on a disk of the guest may let go of it.
    if (performance.now() > end) {
      return { guest: "unsettled", why: `the old QEMU has the guest, but can't run it: ${refused}` };
    }
    await delay(continueAgainMs);
  }
}

async function settleExec(state: Unsettled): Promise<Settled> {
  const { source, journal } = state;
  const start = performance.now();
  let cancelled = false;
  for (;;) {
    const here = await askPeer(source, 2_000);
    const replaced = hasReplaced(journal);
    if (!here.alive) {
      const kept =
        journal.stateFile === undefined ? "" : `; its devices' state is in ${journal.stateFile}, its RAM is gone`;
      return { guest: "lost", why: `the process of the guest has ended${kept}` };
    }
    const spent = performance.now() - start;
    if (replaced) {
      if (hasTakenOver(here)) return { guest: "destination", why: "the new program runs the guest" };
    } else if (!isInProgress(here) && keepsGuest(here)) {
      return { guest: "source", why: `the old program has the guest (${here.run})` };
    } else if (here.run !== undefined && isOthers(journal, here)) {
      return leftAlone(here);
    } else if (keepsGuest(here) || (spent > 1_000 && !cancelled && here.run !== undefined)) {
      cancelled = true;
      await tell(source, "migrate_cancel");
    }
    if (spent > state.timeoutMs) {
      const who = replaced ? "new" : "old";
      return {
        guest: "unsettled",
        why: `the ${who} program says: ${here.silence ?? `${here.run}, ${here.migration}`}`,
      };
    }
    await delay(pollMs);
  }
}

/** cpr-exec: whether the process is the new program already, which was started with this update's file. */
export function hasReplaced(journal: Journal): boolean {
  const { source, stateFile, id } = journal;
  try {
    const words = readFileSync(`/proc/${source.pid}/cmdline`, "utf8").split("\0");
    // Above that the folder may have another name in QEMU's mount namespace.
    const end = `/${id}/${basename(stateFile ?? "")}`;
    return stateFile !== undefined && words.some((word) => word.startsWith("file:") && word.endsWith(end));
  } catch {
    return false;
  }
}
