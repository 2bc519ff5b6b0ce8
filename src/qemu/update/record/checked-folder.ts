// Folders that nobody but this user and root can change, and small files in them. Once every level of a path has been
// checked, the path means the same folder for as long as root and this user leave it alone.

import {
  closeSync,
  constants,
  fstatSync,
  fsync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  type Stats,
  writeSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { promisify } from "node:util";
import { CprkitError } from "../../../vmstate/error.ts";

/**
 * Follows the path from "/" on and checks the owner (root or this user) and the mode (not writable by group or others)
 * of each level. A folder such as /tmp, where only the owner of an entry can remove it, may be on the way, but not at
 * the end.
 *
 * @returns the path without links; undefined when it is not there and `make` is false
 * @throws CprkitError ERR_FILE naming the level that another user could change
 */
export function checkedFolder(path: string, { make }: { readonly make: boolean }): string | undefined {
  try {
    return walk(path, make ? "made folder" : "folder", (...at) => refuseFault(...at, path));
  } catch (cause) {
    if (cause instanceof CprkitError) throw cause;
    const what = make ? "made" : "read";
    throw new CprkitError(
      "ERR_FILE",
      `${path}: the state folder can't be ${what}: ${String(cause)}; choose another one with --state-dir`,
      { cause },
    );
  }
}

/**
 * Why the file at this path may be another one than it was: somebody other than root, this user and `user` can change it,
 * or a level of the path. Undefined when nobody can, and when it is not there.
 */
export function replaceableBy(path: string, user: number): string | undefined {
  let found: string | undefined;
  const note: Check = (level, stat, onTheWay) => {
    const fault = faultOf(stat, onTheWay, user);
    if (fault !== undefined) found ??= `${level}: ${fault}`;
  };
  try {
    walk(path, "file", note);
  } catch (error) {
    found ??= error instanceof CprkitError ? error.reason : String(error);
  }
  return found;
}

/** Reads a file in a checked folder; undefined when there is none. @throws CprkitError ERR_FILE */
export function readOwnFile(path: string): string | undefined {
  let fd: number;
  try {
    // O_NONBLOCK: a FIFO must not make us wait.
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (cause) {
    if (isError(cause, "ENOENT")) return undefined;
    const why = isError(cause, "ELOOP") ? "it is a link" : String(cause);
    throw new CprkitError("ERR_FILE", `${path}: can't be read: ${why}`, { cause });
  }
  try {
    const stat = fstatSync(fd);
    const fault = !stat.isFile()
      ? "it is not a regular file"
      : stat.size > maxBytes
        ? `it has ${stat.size} bytes`
        : faultOf(stat);
    if (fault !== undefined) throw new CprkitError("ERR_FILE", `${path}: can't be read: ${fault}`);
    return readFileSync(fd, "utf8");
  } catch (cause) {
    if (cause instanceof CprkitError) throw cause;
    throw new CprkitError("ERR_FILE", `${path}: can't be read: ${String(cause)}`, { cause });
  } finally {
    closeSync(fd);
  }
}

/** Creates a file that must not be there yet, for this user alone. @throws what node:fs throws */
export function createOwnFile(path: string, text: string, options: { readonly sync: boolean }): void {
  const fd = startOwnFile(path, text);
  try {
    if (options.sync) fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Open, with the text in it. */
function startOwnFile(path: string, text: string): number {
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  const fd = openSync(path, flags, 0o600);
  try {
    const bytes = Buffer.from(text);
    for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Replaces a file in a checked folder in one step, so that it is on the disk afterwards. @throws what node:fs throws */
export function replaceOwnFile(path: string, text: string): void {
  const draft = newDraft(path);
  createOwnFile(draft, text, { sync: true });
  renameSync(draft, path);
  const folder = openFolder(path);
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

/**
 * The same while this process does other work: disks that are busy take 10 ms and more.
 *
 * @param isLast false: the folder is not waited for; after a power failure the old text may be there again, whole
 * @throws what node:fs throws
 */
export async function replaceOwnFileMeanwhile(path: string, text: string, isLast: boolean): Promise<void> {
  const draft = newDraft(path);
  await syncAndClose(startOwnFile(draft, text));
  renameSync(draft, path);
  if (isLast) await syncAndClose(openFolder(path));
}

async function syncAndClose(fd: number): Promise<void> {
  try {
    await promisify(fsync)(fd);
  } finally {
    closeSync(fd);
  }
}

function openFolder(path: string): number {
  return openSync(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
}

/** Where a file's next content is written. */
function newDraft(path: string): string {
  const draft = `${path}.new`;
  // What a cprkit that was killed left.
  rmSync(draft, { force: true });
  return draft;
}

export function isError(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}

const maxBytes = 1024 * 1024;
const maxLinks = 40;
const writableByOthers = 0o022;
const sticky = 0o1000;

/** Says no by throwing. `onTheWay`: there is more of the path below it. */
type Check = (level: string, stat: Stats, onTheWay: boolean) => void;

/** Returns the path without links, undefined when it is not there. */
function walk(path: string, end: "folder" | "made folder" | "file", check: Check): string | undefined {
  let at = "/";
  let links = 0;
  const names = resolve(path).split("/");
  check(at, lstatSync(at), true);
  for (let name = names.shift(); name !== undefined; name = names.shift()) {
    if (name === "" || name === ".") continue;
    if (name === "..") {
      at = dirname(at);
      continue;
    }
    const next = join(at, name);
    const stat = lstatSync(next, { throwIfNoEntry: false }) ?? (end === "made folder" ? madeFolder(next) : undefined);
    if (stat === undefined) return undefined;
    if (stat.isSymbolicLink()) {
      if (++links > maxLinks) throw new CprkitError("ERR_FILE", `${path}: too many links`);
      check(next, stat, true);
      const target = readlinkSync(next);
      if (target.startsWith("/")) at = "/";
      names.unshift(...target.split("/"));
      continue;
    }
    if (end === "file" && names.every((rest) => rest === "") && stat.isFile()) {
      check(next, stat, false);
      return next;
    }
    if (!stat.isDirectory()) throw new CprkitError("ERR_FILE", `${path}: ${next} is not a folder`);
    check(next, stat, true);
    at = next;
  }
  check(at, lstatSync(at), false);
  return at;
}

function madeFolder(path: string): Stats {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    // Another cprkit may have made it just now.
    if (!isError(error, "EEXIST")) throw error;
  }
  return lstatSync(path);
}

function refuseFault(level: string, stat: Stats, onTheWay: boolean, path: string): void {
  const fault = faultOf(stat, onTheWay);
  if (fault === undefined) return;
  throw new CprkitError(
    "ERR_FILE",
    `${path}: not used as a state folder: ${level}: ${fault}; choose a folder of your own with --state-dir`,
  );
}

/** Why a user other than root, this one and `user` could have written this, or could put something else in its place. */
function faultOf(stat: Stats, onTheWay = false, user?: number): string | undefined {
  if (![0, process.geteuid?.(), user].includes(stat.uid)) return `it belongs to uid ${stat.uid}`;
  // The mode of a link means nothing.
  const isShared = !stat.isSymbolicLink() && (stat.mode & writableByOthers) !== 0;
  if (!isShared || (onTheWay && (stat.mode & sticky) !== 0)) return undefined;
  return `its mode ${(stat.mode & 0o7777).toString(8)} lets other users write there`;
}
