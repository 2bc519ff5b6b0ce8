// A lock on a process: one holder at a time on the whole machine, and no file of ours that could be in another place.

import { closeSync, fstatSync, openSync, readFileSync } from "node:fs";
import { CprkitError } from "../../vmstate/error.ts";
import { errno } from "../errno.ts";
import { libc } from "../ffi/koffi.ts";
import { systemError } from "../system-error.ts";
import { isSameProcess, type ProcessIdentity } from "./proc.ts";

/**
 * Locks a process by flock(2) on its /proc/PID/environ, which only its own user and root can open: nobody else can hold
 * it up. The kernel has one inode for it as long as somebody has it open, and drops the lock when the holder ends.
 *
 * @returns the fd that holds the lock until it is closed; or who holds it, by pid, 0 if that can't be seen
 * @throws CprkitError ERR_SYSCALL when the process has ended (ESRCH), may not be looked at, or flock is refused
 */
export function lockProcess(identity: ProcessIdentity): { readonly fd: number } | { readonly holder: number } {
  const { pid } = identity;
  const fd = openEnviron(pid);
  let isOurs = false;
  try {
    // Compared after opening: from here on it can't be another process's.
    if (!isSameProcess(identity)) throw ended(pid);
    const locked = libc().flock(fd, lockExclusive | lockNonblocking);
    isOurs = locked >= 0;
    if (isOurs) return { fd };
    if (locked !== -errno.EAGAIN) throw systemError("flock", -locked, `locking process ${pid}`);
    return { holder: holderOf(fd) };
  } finally {
    if (!isOurs) closeSync(fd);
  }
}

const lockExclusive = 2;
const lockNonblocking = 4;

function openEnviron(pid: number): number {
  try {
    return openSync(`/proc/${pid}/environ`, "r");
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
    if (code === "ENOENT" || code === "ESRCH") throw ended(pid);
    throw new CprkitError("ERR_SYSCALL", `process ${pid} can't be locked: ${String(cause)}`, { cause });
  }
}

function ended(pid: number): CprkitError {
  return new CprkitError("ERR_SYSCALL", `process ${pid} has ended: it can't be locked`, {
    errno: "ESRCH",
    syscall: "open",
  });
}

/** By /proc/locks: "1: FLOCK  ADVISORY  WRITE 4711 00:15:123 0 EOF", the device in hexadecimal. */
function holderOf(fd: number): number {
  const { dev, ino } = fstatSync(fd, { bigint: true });
  const hex = (part: bigint) => part.toString(16).padStart(2, "0");
  // makedev(3) of glibc.
  const device = `${hex((dev >> 8n) & 0xfffn)}:${hex((dev & 0xffn) | ((dev >> 12n) & 0xfff00n))}`;
  try {
    const line = new RegExp(`FLOCK\\s+ADVISORY\\s+WRITE\\s+(\\d+)\\s+${device}:${ino}\\s`);
    return Number(line.exec(readFileSync("/proc/locks", "utf8"))?.[1] ?? 0);
  } catch {
    return 0;
  }
}
