// pidfds: a process held so firmly that a signal can never reach a later process with the same pid.

import { constants } from "node:os";
import { CprkitError } from "../../vmstate/error.ts";
import { errno } from "../errno.ts";
import { closeFd } from "../fd.ts";
import { libc } from "../ffi/koffi.ts";
import { check, systemError } from "../system-error.ts";
import type { WaitOptions } from "../wait/options.ts";
import { waitReadable } from "../wait/readiness.ts";
import { isSameProcess, type ProcessIdentity } from "./proc.ts";

/**
 * Opens a close-on-exec pidfd (pidfd_open(2)) and returns its fd. Given an identity, it is of that process and never of
 * a later one with the same pid.
 *
 * @throws CprkitError ERR_SYSCALL with ESRCH when the process has ended and was waited for.
 */
export function openPidfd(process: number | ProcessIdentity): number {
  const pid = typeof process === "number" ? process : process.pid;
  const pidfd = check(libc().pidfdOpen(pid), "pidfd_open", () => `process ${pid}`);
  if (typeof process === "number") return pidfd;
  try {
    // Compared after opening: from here on the pid cannot pass to another process unnoticed.
    if (isSameProcess(process)) return pidfd;
    throw new CprkitError(
      "ERR_SYSCALL",
      `process ${pid} is not the one that started at tick ${process.startTime}: that one has ended and its pid was taken`,
      { errno: "ESRCH", syscall: "pidfd_open" },
    );
  } catch (error) {
    closeFd(pidfd);
    throw error;
  }
}

/**
 * Sends a signal, or with 0 only tests whether it could (pidfd_send_signal(2)). Returns false when the process has ended
 * and was waited for.
 *
 * @throws CprkitError ERR_SYSCALL with EPERM when it is another user's.
 */
export function signalPidfd(pidfd: number, signal: NodeJS.Signals | 0): boolean {
  const number = signal === 0 ? 0 : constants.signals[signal];
  const sent = libc().pidfdSendSignal(pidfd, number);
  if (sent >= 0) return true;
  if (sent === -errno.ESRCH) return false;
  throw systemError("pidfd_send_signal", -sent, `sending ${signal} through pidfd ${pidfd}`);
}

/**
 * Waits until the process has exited, whether or not its parent has taken its status.
 *
 * @throws CprkitError ERR_TIMEOUT, ERR_ABORTED.
 */
export async function waitExit(pidfd: number, options: WaitOptions = {}): Promise<void> {
  await waitReadable(pidfd, options);
}
