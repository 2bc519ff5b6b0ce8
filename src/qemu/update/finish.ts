// Past the point of no return: ends the old QEMU, hands its names over, and closes the journal. Whatever fails here is
// a warning: the guest runs.

import { CprkitError } from "../../vmstate/error.ts";
import { handOver } from "./names.ts";
import { askPeer, endProcess, keepsGuest, type Peer } from "./peers/peer.ts";
import { restoreSettings, tell } from "./peers/tell.ts";
import type { Journal } from "./record/journal.ts";

/** The steps of the end; both a running update and a later `--resume` go through them. */
export interface Finish {
  readonly journal: Journal;
  readonly source: Peer;
  /** The QEMU that has the guest; in cpr-exec the source's own process. */
  readonly destination: Peer;
  step(step: "source-ended" | "names-handed-over", act: () => Promise<void>): Promise<void>;
  warn(text: string): void;
}

/** Goes forward to the end. @throws CprkitError ERR_UPDATE_FAILED when both QEMUs say that they have the guest */
export async function goForward({ journal, source, destination, step, warn }: Finish): Promise<void> {
  if (journal.mode !== "cpr-exec") {
    await step("source-ended", async () => {
      const pidfiles = journal.moved.filter(({ kind }) => kind === "pidfile");
      // Before the old one ends: systemd then finds the new process in it, and lets the service live.
      for (const problem of handOver(pidfiles, journal.owner)) warn(problem);
      const problem = await endSource(
        source,
        pidfiles.some((name) => name.old === name.public),
      );
      if (problem !== undefined) warn(problem);
    });
  }
  await step("names-handed-over", async () => {
    for (const problem of handOver(journal.moved, journal.owner)) warn(problem);
    await restoreSettings(destination, journal);
  });
}

/**
 * Ends it by QMP, else by signals. One that would remove the pidfile at its exit, which is the new QEMU's by now, is
 * killed: it has given up the guest and its disks, so there is nothing that it would still have to write.
 */
async function endSource(source: Peer, isKilled: boolean): Promise<string | undefined> {
  const here = await askPeer(source);
  const { pid } = source.identity;
  if (!here.alive) return undefined;
  if (keepsGuest(here)) {
    throw new CprkitError(
      "ERR_UPDATE_FAILED",
      `the old QEMU (pid ${pid}) says that it has the guest (${here.run}) while the new one has it too: pause one of ` +
        "them at once, and keep the one whose guest is right",
    );
  }
  if (!isKilled) await tell(source, "quit");
  const ended = await endProcess(source.identity, isKilled ? ["SIGKILL"] : [0, "SIGTERM", "SIGKILL"], 10_000);
  return ended ? undefined : `the old QEMU (pid ${pid}) can't be ended; it does not run the guest`;
}
