// File operations in folders of another user, with that user's rights: root's could be led to any file of the system.

import { type Stats, statSync } from "node:fs";
import { CprkitError } from "../../vmstate/error.ts";

/** A user with its groups. */
export interface FileUser {
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
}

/**
 * Calls `act`, which must be synchronous, with the effective ids of `user`; with our own if that is this user. If the
 * kernel does not give our own ids back, this process ends at once with status 4: nothing may go on with wrong rights.
 *
 * @throws CprkitError ERR_SYSCALL when the kernel refuses one of them: `act` was not called
 */
export function asUser<T>(user: FileUser | undefined, act: () => T): T {
  const { geteuid, getegid, getgroups, seteuid, setegid, setgroups } = process;
  if (user === undefined || user.uid === geteuid?.() || !geteuid || !getegid || !getgroups) return act();
  if (!seteuid || !setegid || !setgroups) return act();
  const own = { uid: geteuid(), gid: getegid(), groups: getgroups() };
  // Each is noted before it is tried: one that was refused is given back, too.
  const back: (() => void)[] = [];
  try {
    try {
      back.unshift(() => setgroups(own.groups));
      setgroups([...user.groups]);
      back.unshift(() => setegid(own.gid));
      setegid(user.gid);
      back.unshift(() => seteuid(own.uid));
      seteuid(user.uid);
    } catch (cause) {
      const text = `the kernel refuses the rights of user ${user.uid} (${String(cause)}): nothing was done in its folders`;
      throw new CprkitError("ERR_SYSCALL", text, { cause });
    }
    return act();
  } finally {
    try {
      for (const give of back) give();
    } catch (error) {
      endNow(error);
    }
  }
}

function endNow(error: unknown): never {
  const text = `cprkit ends: the kernel does not give it its own user and groups back (${String(error)})`;
  // At once: a warning of Node's own kind is only written later, when this process is gone.
  process.emit("warning", new Error(text));
  process.exit(4);
}

/** Whether a user may make and remove files in a folder, by its owner and mode (access control lists are left out). */
export function mayWriteIn(folder: string, user: FileUser): boolean {
  return hasModeBits(folder, user, 0o3);
}

/** Whether a user may pass through a folder. */
export function mayPass(folder: string, user: FileUser): boolean {
  return hasModeBits(folder, user, 0o1);
}

function hasModeBits(folder: string, { uid, gid, groups }: FileUser, bits: number): boolean {
  let stat: Stats;
  try {
    stat = statSync(folder);
  } catch {
    return false;
  }
  if (!stat.isDirectory()) return false;
  if (uid === 0) return true;
  const shift = stat.uid === uid ? 6 : stat.gid === gid || groups.includes(stat.gid) ? 3 : 0;
  return ((stat.mode >> shift) & bits) === bits;
}
