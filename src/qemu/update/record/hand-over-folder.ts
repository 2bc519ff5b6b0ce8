// The folder in which the two QEMUs of an update meet: their sockets and the file of the state. It belongs to the VM's
// user, its parents to us, so nobody else can put something in its place.

import { chmodSync, chownSync, mkdirSync, rmdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { CprkitError } from "../../../vmstate/error.ts";
import { type FileUser, mayPass } from "../../vm/as-user.ts";

/** The path of the hand-over folder of the update with this id. */
export function handOverFolder(folder: string, id: string): string {
  return join(folder, id);
}

/**
 * Makes the folder, for `user` alone. Another user gets the right to pass through the checked folders above it, but not
 * to list them.
 *
 * @param folder the VM's checked folder
 * @throws CprkitError ERR_FILE when it can't be made, or when `user` can't get there
 */
export function makeHandOverFolder(folder: string, id: string, user: FileUser): void {
  const path = handOverFolder(folder, id);
  try {
    mkdirSync(path, { mode: 0o700 });
    if (user.uid === process.geteuid?.()) return;
    chownSync(path, user.uid, user.gid);
    for (const above of [folder, dirname(folder)]) chmodSync(above, (statSync(above).mode & 0o7777) | 0o011);
  } catch (cause) {
    throw new CprkitError("ERR_FILE", `${path}: the folder can't be made: ${String(cause)}`, { cause });
  }
  for (let above = dirname(path); above !== dirname(above); above = dirname(above)) {
    if (mayPass(above, user)) continue;
    removeHandOverFolder(folder, id);
    const text = `${above}: QEMU's user (uid ${user.uid}) can't pass through this folder`;
    throw new CprkitError("ERR_FILE", `${text}; choose another place with --state-dir`);
  }
}

/** Removes it if it is empty: what somebody else put there is theirs. Never throws. */
export function removeHandOverFolder(folder: string, id: string): void {
  try {
    rmdirSync(handOverFolder(folder, id));
  } catch {
    // Not there, or not empty.
  }
}
