// Takes the fds that are handed over from the running QEMU, for as long as it takes to start the new one.

import { closeFd, closeFds, getFdOf, openPidfd, type ProcessIdentity } from "../../linux/index.ts";
import type { Handed } from "./desk.ts";

/** Duplicates of the running QEMU's fds, close-on-exec. */
export interface Taken {
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
export function takeFds(from: ProcessIdentity, handed: readonly Pick<Handed, "fd">[]): Taken {
  const fds: number[] = [];
  if (handed.length === 0) return { fds, close: () => undefined };
  const pidfd = openPidfd(from);
  try {
    for (const { fd } of handed) fds.push(getFdOf(pidfd, fd));
  } catch (error) {
    closeFds(fds);
    throw error;
  } finally {
    closeFd(pidfd);
  }
  return { fds, close: () => closeFds(fds) };
}
