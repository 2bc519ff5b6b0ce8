// QEMU 10.0 clears O_NONBLOCK on every fd it receives. The flag belongs to the open file description, which the
// sender shares: its own fd becomes blocking too. So the sender notes the flags and puts them back.

import { getNonblock, isOpen, setNonblock } from "../linux/fd.ts";

/**
 * Notes which of `fds` are non-blocking; fds that are not open are passed over. The returned function sets O_NONBLOCK
 * again where it was lost since, and returns on how many fds.
 */
export function guardNonblock(fds: Iterable<number>): () => number {
  const nonblocking = [...fds].filter((fd) => fd >= 0 && isOpen(fd) && getNonblock(fd));
  return () => {
    const changed = nonblocking.filter((fd) => isOpen(fd) && !getNonblock(fd));
    for (const fd of changed) setNonblock(fd, true);
    return changed.length;
  };
}
