// Past the point of no return: ends the old QEMU, hands its names over, and closes the journal. Whatever fails here is
// a warning: the guest runs.

import { isRunning } from "../../linux/index.ts";
import { endProcess } from "../../linux/process/end-process.ts";
import { CprkitError } from "../../vmstate/error.ts";
import { leaveToInit } from "../attributes/parent.ts";
import { giveToThreads } from "../attributes/threads.ts";
import { portOf } from "../carry/ports.ts";
import { openDoors } from "../handover/doors.ts";
import { throughRootOf } from "../namespaces/paths.ts";
import { handOver, setOwners } from "./names.ts";
import { askPeer, keepsGuest, monitorOf, type Peer, type PeerState } from "./peers/peer.ts";
import { restoreSettings, tell, tellAll } from "./peers/tell.ts";
import type { Journal } from "./record/journal.ts";

/** The steps of the end; both a running update and a later `--resume` go through them. */
export interface Finish {
  readonly journal: Journal;
  readonly source: Peer;
  /** The QEMU that has the guest; in cpr-exec the source's own process. */
  readonly destination: Peer;
  /** The connections that hold the new QEMU's places, if they are ours still. */
  readonly holders?: readonly number[];
  step(step: "source-ended" | "names-handed-over", act: () => Promise<void>): Promise<void>;
  warn(text: string): void;
}

/**
 * Goes forward to the end.
 *
 * @throws CprkitError ERR_UPDATE_FAILED when both QEMUs say that they have the guest; nothing else
 */
export async function goForward({ journal, source, destination, holders = [], step, warn }: Finish): Promise<void> {
  const whatever = async (act: () => Promise<void>) => {
    try {
      await act();
    } catch (error) {
      warn(error instanceof Error ? error.message : String(error));
    }
  };
  const handOverThose = (moved: Journal["moved"]) => {
    for (const problem of handOver(moved, journal, destination)) warn(problem);
  };
  const after = journal.after ?? [];
  const restore = () =>
    whatever(async () => {
      for (const problem of await restoreSettings(destination, journal)) warn(problem);
    });
  let restored: Promise<void> | undefined;
  let endedMs: number | undefined;
  if (journal.mode !== "cpr-exec") {
    const here = await askPeer(source);
    if (keepsGuest(here)) throw bothHaveIt(source, here);
    // The old one takes a while to end. Where the new one's monitor is to be found only then, after that.
    if (destination.qmp !== undefined) restored = restore();
    const pidfiles = journal.moved.filter(({ kind }) => kind === "pidfile");
    await step("source-ended", async () => {
      // Before anybody is told of it: systemd looks whose child it is as soon as the pidfile names it.
      await whatever(async () => {
        const problem = await leaveToInit(destination.identity);
        if (problem !== undefined) warn(problem);
      });
      // Before the old one ends: systemd then finds the new process in it, and lets the service live.
      await whatever(async () => handOverThose(pidfiles));
      // One that would remove the pidfile at its exit, which is the new QEMU's by now, is killed: it has given up the
      // guest and its disks, so there is nothing that it would still have to write.
      await whatever(async () => {
        // So is one whose taps the new QEMU has: it would run their scripts.
        const isKilled = pidfiles.some((name) => name.old === name.public) || (journal.handed ?? []).length > 0;
        endedMs = performance.now();
        const problem = here.alive ? await endSource(source, isKilled) : undefined;
        if (problem !== undefined) warn(problem);
      });
    });
  }
  await step("names-handed-over", async () => {
    for (const text of await openPorts(destination, after, endedMs)) warn(text);
    await whatever(async () => handOverThose(journal.moved));
    if (journal.mode === "cpr-exec") {
      // The sockets, under their own names, and all threads but the first have been made anew.
      for (const problem of setOwners([], journal, destination)) warn(problem);
      await whatever(async () => {
        const qmp = await monitorOf(destination);
        await giveToThreads(destination.identity.pid, qmp, journal.threads ?? [], { timeoutMs: 5_000 });
      });
    }
    for (const problem of openDoors(destination.identity, journal.doors ?? [], holders)) warn(problem);
    if (journal.destination !== undefined && isMonitorHanded(journal)) {
      // cprkit's own in the new QEMU has no path from here on; but where the old one could not be ended, both answer there.
      const { qmp } = journal.destination;
      if (isRunning(source.identity)) journal.files = journal.files.filter((file) => file !== qmp);
      else journal.destination.qmp = throughRootOf(journal.source.qmp, journal.source.pid, journal.destination.pid);
    }
    await (restored ?? restore());
    for (const problem of await tellAll(
      destination,
      after.filter((each) => portOf(each) === undefined),
    ))
      warn(problem);
  });
}

/** First of all, and with the time that each was closed at most. @returns that, and what was refused, in words */
async function openPorts(
  destination: Peer,
  after: NonNullable<Journal["after"]>,
  endedMs: number | undefined,
): Promise<string[]> {
  const problems: string[] = [];
  const closed: string[] = [];
  for (const one of after) {
    const port = portOf(one);
    if (port === undefined) continue;
    const refused = await tellAll(destination, [one]);
    problems.push(...refused);
    if (refused.length === 0 && endedMs !== undefined) {
      closed.push(`${port} ${(performance.now() - endedMs).toFixed(1)} ms`);
    }
  }
  return closed.length === 0
    ? problems
    : [...problems, `not open while one QEMU followed the other: ${closed.join(", ")}`];
}

function isMonitorHanded({ handed = [], source, qmpInside = source.qmp }: Journal): boolean {
  return handed.some(({ what }) => what === `unix ${qmpInside}`);
}

function bothHaveIt({ identity: { pid } }: Peer, { run }: PeerState): CprkitError {
  return new CprkitError(
    "ERR_UPDATE_FAILED",
    `the old QEMU (pid ${pid}) says that it has the guest (${run}) while the new one has it too: pause one of ` +
      "them at once, and keep the one whose guest is right",
  );
}

/** Ends it by QMP, else by signals. Returns what is left to do. */
async function endSource(source: Peer, isKilled: boolean): Promise<string | undefined> {
  if (!isKilled) await tell(source, "quit");
  const problem = await endProcess(source.identity, isKilled ? ["SIGKILL"] : [0, "SIGTERM", "SIGKILL"], 10_000);
  if (problem === undefined) return undefined;
  const { pid } = source.identity;
  return `the old QEMU is still there, but does not run the guest: ${problem}; end it: kill -9 ${pid}`;
}
