// Anonymous memory as a file. Read and write it with node:fs, by its fd number.

import { ftruncateSync } from "node:fs";
import { CprkitError } from "../vmstate/error.ts";
import { libc } from "./ffi/koffi.ts";
import { check } from "./system-error.ts";

/** Options of {@link createMemfd}. */
export interface MemfdOptions {
  /** Whether execve closes it (MFD_CLOEXEC). Default true. */
  readonly closeOnExec?: boolean | undefined;
  /** Size in bytes, all zero and taking no memory until written. Default 0. */
  readonly size?: number | undefined;
}

const mfdCloexec = 1;

/**
 * Creates a memfd (memfd_create(2)) and returns its fd; /proc shows it as "/memfd:NAME (deleted)".
 *
 * @param name At most 249 bytes; it need not be unique.
 * @throws CprkitError ERR_VALUE for a size that is not a whole number of bytes, ERR_SYSCALL.
 */
export function createMemfd(name: string, options: MemfdOptions = {}): number {
  const { closeOnExec = true, size = 0 } = options;
  if (!Number.isSafeInteger(size) || size < 0) {
    throw new CprkitError("ERR_VALUE", `size of memfd ${name}: expected a number of bytes, found ${size}`);
  }
  const c = libc();
  const fd = check(c.memfdCreate(name, closeOnExec ? mfdCloexec : 0), "memfd_create", () => `creating memfd ${name}`);
  try {
    if (size > 0) ftruncateSync(fd, size);
  } catch (cause) {
    c.close(fd);
    throw new CprkitError("ERR_SYSCALL", `memfd ${name} could not be given ${size} bytes`, {
      syscall: "ftruncate",
      cause,
    });
  }
  return fd;
}
