// What can be done to one fd: close, duplicate, and its two flags that matter to a live update.

import { asFd, isFd } from "./as-fd.ts";
import { errno } from "./errno.ts";
import { libc } from "./ffi/koffi.ts";
import { check } from "./system-error.ts";
import { failWaiters } from "./wait/poller.ts";

const fGetfd = 1;
const fSetfd = 2;
const fGetfl = 3;
const fSetfl = 4;
const fDupfdCloexec = 1030;
const fdCloexec = 1;
const oNonblock = 0o4000;

/**
 * Closes `fd`. Whoever waits for it gets ERR_ABORTED. Never call it twice for one fd: the number may be another
 * file's by then.
 *
 * @throws CprkitError ERR_FD_INVALID when it is not open.
 */
export function closeFd(fd: number): void {
  failWaiters(asFd(fd));
  const closed = libc().close(fd);
  // Whatever else Linux says (EINTR; EIO for data written earlier), it has closed the fd: nobody may try that number again.
  if (closed === -errno.EBADF) check(closed, "close", () => `closing fd ${fd}`);
}

/**
 * Closes every one of `fds` that is open, each number once, and passes over all else (-1 for an unknown fd): for
 * tidying up after an error, where one odd number must not leave the rest open.
 */
export function closeFds(fds: Iterable<number>): void {
  for (const fd of new Set(fds)) {
    if (!isFd(fd)) continue;
    failWaiters(fd);
    libc().close(fd);
  }
}

/**
 * A new close-on-exec fd for the same open file description, with the lowest free number from `min` on.
 *
 * @throws CprkitError ERR_FD_INVALID when `fd` is not open, ERR_SYSCALL with EMFILE at the limit of open fds.
 */
export function dupFd(fd: number, min = 0): number {
  return check(libc().fcntl(fd, fDupfdCloexec, asFd(min, "min")), "fcntl", () => `duplicating fd ${fd}`);
}

/** True when `fd` is open in this process. @throws CprkitError ERR_VALUE for what does not fit a C int */
export function isOpen(fd: number): boolean {
  return libc().fcntl(fd, fGetfd, 0) >= 0;
}

/** Whether `fd` is closed by execve. @throws CprkitError ERR_FD_INVALID */
export function isCloseOnExec(fd: number): boolean {
  return (getFdFlags(fd) & fdCloexec) !== 0;
}

/** Sets whether `fd` is closed by execve, of this fd alone, not of its duplicates. @throws CprkitError ERR_FD_INVALID */
export function setCloseOnExec(fd: number, on: boolean): void {
  const flags = getFdFlags(fd);
  const wanted = on ? flags | fdCloexec : flags & ~fdCloexec;
  if (wanted !== flags) check(libc().fcntl(fd, fSetfd, wanted), "fcntl", () => `setting close-on-exec of fd ${fd}`);
}

/** As {@link setCloseOnExec} with false; says whether it was set. */
export function clearCloseOnExec(fd: number): boolean {
  const flags = getFdFlags(fd);
  if ((flags & fdCloexec) === 0) return false;
  check(libc().fcntl(fd, fSetfd, flags & ~fdCloexec), "fcntl", () => `setting close-on-exec of fd ${fd}`);
  return true;
}

/** Whether reads and writes on `fd` return EAGAIN instead of waiting. @throws CprkitError ERR_FD_INVALID */
export function getNonblock(fd: number): boolean {
  return (getStatusFlags(fd) & oNonblock) !== 0;
}

/**
 * Sets O_NONBLOCK. It belongs to the open file description: every duplicate of the fd, in this process and in others
 * that it was sent to, changes with it (fcntl(2), F_SETFL).
 *
 * @throws CprkitError ERR_FD_INVALID
 */
export function setNonblock(fd: number, on: boolean): void {
  const flags = getStatusFlags(fd);
  const wanted = on ? flags | oNonblock : flags & ~oNonblock;
  if (wanted !== flags) check(libc().fcntl(fd, fSetfl, wanted), "fcntl", () => `setting O_NONBLOCK of fd ${fd}`);
}

function getFdFlags(fd: number): number {
  return check(libc().fcntl(fd, fGetfd, 0), "fcntl", () => `reading close-on-exec of fd ${fd}`);
}

function getStatusFlags(fd: number): number {
  return check(libc().fcntl(fd, fGetfl, 0), "fcntl", () => `reading the flags of fd ${fd}`);
}
