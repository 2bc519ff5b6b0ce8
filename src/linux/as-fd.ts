// The door every fd number passes before a system call: the FFI itself checks nothing and would cut 2 ** 40 down to 0.

import { CprkitError } from "../vmstate/error.ts";

/** The largest number an fd can have: the kernel's `int`. */
const maxFd = 0x7fff_ffff;

/** True for an integer from 0 to 2³¹-1. */
export function isFd(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= maxFd;
}

/**
 * Returns `value` when it is an integer from 0 to 2³¹-1. It need not be open: see `isOpen`.
 *
 * @param what Names the value in the error, such as "fds[3]".
 * @throws CprkitError ERR_FD_INVALID
 */
export function asFd(value: unknown, what = "fd"): number {
  if (isFd(value)) return value;
  const found = typeof value === "string" ? JSON.stringify(value) : String(value);
  throw new CprkitError(
    "ERR_FD_INVALID",
    `${what}: expected an open file descriptor, an integer from 0 to ${maxFd}, found ${found}`,
  );
}
