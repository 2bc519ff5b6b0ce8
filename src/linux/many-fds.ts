// What is done to thousands of fds at once, in few system calls: a call an fd was most of what exec took.

import { isOpen, setCloseOnExec } from "./fd.ts";
import { libc } from "./ffi/koffi.ts";

/** Those of `fds` that are not open in this process, in their order; what can be no fd at all is among them. */
export function closedAmong(fds: readonly number[]): number[] {
  const closed: number[] = [];
  for (let from = 0; from < fds.length; from += atOnce) {
    const count = Math.min(atOnce, fds.length - from);
    // No call of a function for each: a program that was just executed is interpreted.
    const asked = new Int32Array(count);
    for (let at = 0; at < count; at++) {
      const fd = fds[from + at] as number;
      asked[at] = fd;
      // Of what is no fd its 32 bits may be one.
      if (asked[at] !== fd || fd < 0) asked[at] = -1;
    }
    const answer = libc().pollClosed(asked);
    for (let at = 0; at < count; at++) {
      const fd = asked[at] as number;
      // Where the limit of open fds is below their count, poll(2) refuses.
      if (fd < 0 || (answer === undefined ? !isOpen(fd) : answer[at] === 1)) closed.push(fds[from + at] as number);
    }
  }
  return closed;
}

/**
 * Sets close-on-exec of every one of `fds`, which must be open: a call for each run of numbers that follow each other, or
 * for each fd where the kernel has no such call (Linux before 5.11).
 *
 * @throws CprkitError ERR_FD_INVALID for one that is not open, where each has its call
 */
export function setCloseOnExecOf(fds: readonly number[]): void {
  const sorted = Int32Array.from(fds).sort();
  let from = 0;
  for (let at = 1; at <= sorted.length; at++) {
    const last = sorted[at - 1] as number;
    // The same number may come twice.
    if (at < sorted.length && (sorted[at] as number) - last <= 1) continue;
    const first = sorted[from] as number;
    if (first === last || libc().closeRange(first, last, closeRangeCloexec) < 0)
      for (let fd = first; fd <= last; fd++) setCloseOnExec(fd, true);
    from = at;
  }
}

/** Fds that one poll(2) asks for. */
const atOnce = 512;

/** CLOSE_RANGE_CLOEXEC of <linux/close_range.h>. */
const closeRangeCloexec = 4;
