// Who may use the sockets and the pidfile of the new QEMU: what an operator has set on the running one's since its start.

import { chmodSync, chownSync, closeSync, constants, fstatSync, openSync, type Stats } from "node:fs";
import { CprkitError } from "../../vmstate/error.ts";
import type { FileUser } from "../vm/as-user.ts";

/** A path of the running QEMU with its owner and mode, as QEMU calls it. */
export interface OwnedFile {
  readonly path: string;
  /** Octal, such as "0660". */
  readonly mode: string;
  readonly uid: number;
  readonly gid: number;
}

/**
 * Gives a socket or file that the new QEMU has made the owner and mode of the old one's. Acts only on what belongs to the
 * QEMU's user already and has no other name: whatever that user puts in its place stays as it is. A file whose content is
 * that user's is not given to anybody else.
 *
 * @param path where this process finds it
 * @param user whom QEMU runs as
 * @returns what could not be done, in words
 */
export function setOwner(path: string, { mode, uid, gid }: OwnedFile, user: FileUser): string | undefined {
  let fd: number;
  try {
    fd = openSync(path, oPath | constants.O_NOFOLLOW);
  } catch {
    // It has not been made, or is gone: that is told where it matters.
    return undefined;
  }
  try {
    const stat = fstatSync(fd);
    const wanted = Number.parseInt(mode, 8) & 0o777;
    if (stat.uid === uid && stat.gid === gid && (stat.mode & 0o777) === wanted) return undefined;
    expectOwn(stat, user);
    if (stat.isFile() && (uid !== user.uid || ![user.gid, ...user.groups].includes(gid))) {
      throw new CprkitError("ERR_FILE", "its user could not do that");
    }
    // The very file that was looked at, wherever its name leads by now.
    const file = `/proc/self/fd/${fd}`;
    // First without the old owner's group: at no moment may anybody do what they may not in the end.
    chmodSync(file, stat.mode & wanted & 0o777);
    if (stat.uid !== uid || stat.gid !== gid) chownSync(file, uid, gid);
    chmodSync(file, wanted);
    return undefined;
  } catch (error) {
    return `${path} has not got the owner ${uid}:${gid} and the mode ${mode}: ${error instanceof Error ? error.message : error}`;
  } finally {
    closeSync(fd);
  }
}

const oPath = 0o10000000;

function expectOwn(stat: Stats, user: FileUser): void {
  if (stat.uid === user.uid && stat.nlink === 1 && (stat.isSocket() || stat.isFile())) return;
  throw new CprkitError("ERR_FILE", "it is not what the new QEMU has made");
}
