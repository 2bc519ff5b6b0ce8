// Takes the fds that are handed over from the running QEMU, for as long as it takes to start the new one.

import { CprState } from "../../cpr/index.ts";
import { closeFd, closeFds, getFdOf, openPidfd, type ProcessIdentity } from "../../linux/index.ts";
import type { Handed } from "./desk.ts";

/** Duplicates of the running QEMU's fds, close-on-exec, each under its name and id. */
export interface Taken {
  readonly state: CprState;
  /** In the order of their new numbers. */
  readonly fds: readonly number[];
  /** Closes them here. */
  close(): void;
}

/**
 * Duplicates them all, or none.
 *
 * @throws CprkitError as `openPidfd` and `getFdOf`
 */
export function takeFds(from: ProcessIdentity, handed: readonly Pick<Handed, "name" | "id" | "fd">[]): Taken {
  const state = new CprState();
  const fds: number[] = [];
  if (handed.length === 0) return { state, fds, close: () => undefined };
  const pidfd = openPidfd(from);
  try {
    for (const { name, id, fd } of handed) {
      const taken = getFdOf(pidfd, fd);
      fds.push(taken);
      state.saveFd(name, id, taken);
    }
  } catch (error) {
    closeFds(fds);
    throw error;
  } finally {
    closeFd(pidfd);
  }
  return { state, fds, close: () => closeFds(fds) };
}
