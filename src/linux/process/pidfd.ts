// pidfds: a process held so firmly that a signal can never reach a later process with the same pid.

import { readFileSync } from "node:fs";
import { constants } from "node:os";
import { CprkitError } from "../../vmstate/error.ts";
import { errno, errnoName } from "../errno.ts";
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
 * Duplicates an fd of another process (pidfd_getfd(2)): the same open file description, as over SCM_RIGHTS. The new fd is
 * close-on-exec and the caller's.
 *
 * @throws CprkitError ERR_FD_INVALID when that process has no such fd; ERR_SYSCALL with ESRCH when it has ended, EPERM
 * when this one may not trace it (ptrace(2), Yama), EMFILE at our own limit, ENOSYS before Linux 5.6.
 */
export function getFdOf(pidfd: number, fd: number): number {
  const got = libc().pidfdGetfd(pidfd, fd);
  if (got >= 0) return got;
  const what = `duplicating fd ${fd} of another process`;
  const why = whyNotGot(-got);
  if (why === undefined) throw systemError("pidfd_getfd", -got, what);
  throw new CprkitError(got === -errno.EBADF ? "ERR_FD_INVALID" : "ERR_SYSCALL", `${what}: ${why}`, {
    errno: errnoName(-got),
    syscall: "pidfd_getfd",
  });
}

function whyNotGot(number: number): string | undefined {
  switch (number) {
    case errno.EBADF:
      return "it has no such fd, or the pidfd is not open (EBADF)";
    case errno.ESRCH:
      return "the process has ended (ESRCH)";
    case errno.EPERM:
      return `this process may not trace that one (EPERM)${yamaText()}; run as root`;
    case errno.ENOSYS:
      return "this kernel has no pidfd_getfd (ENOSYS): it needs Linux 5.6";
    default:
      return undefined;
  }
}

/** What the Yama security module has to do with it: kernel.yama.ptrace_scope above 0 forbids it to all but root. */
function yamaText(): string {
  try {
    const scope = Number(readFileSync("/proc/sys/kernel/yama/ptrace_scope", "utf8"));
    return scope === 0 ? "" : `: kernel.yama.ptrace_scope is ${scope}`;
  } catch {
    return "";
  }
}

/**
 * Waits until the process has exited, whether or not its parent has taken its status.
 *
 * @throws CprkitError ERR_TIMEOUT, ERR_ABORTED.
 */
export async function waitExit(pidfd: number, options: WaitOptions = {}): Promise<void> {
  await waitReadable(pidfd, options);
}
