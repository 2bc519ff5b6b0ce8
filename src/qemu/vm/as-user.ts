// File operations in folders of another user, with that user's rights: root's could be led to any file of the system.

import { type Stats, statSync } from "node:fs";

/** A user with its groups. */
export interface FileUser {
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
}

/** Calls `act`, which must be synchronous, with the effective ids of `user`; with our own if that is this user. */
export function asUser<T>(user: FileUser | undefined, act: () => T): T {
  const { geteuid, getegid, getgroups, seteuid, setegid, setgroups } = process;
  if (user === undefined || user.uid === geteuid?.() || !geteuid || !getegid || !getgroups) return act();
  if (!seteuid || !setegid || !setgroups) return act();
  const own = { uid: geteuid(), gid: getegid(), groups: getgroups() };
  setgroups([...user.groups]);
  setegid(user.gid);
  seteuid(user.uid);
  try {
    return act();
  } finally {
    seteuid(own.uid);
    setegid(own.gid);
    setgroups(own.groups);
  }
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
