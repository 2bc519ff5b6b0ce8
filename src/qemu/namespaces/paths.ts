// Paths of a QEMU that sees other file systems than cprkit does. What its command line and its answers name is meant in
// its mount namespace; cprkit gets there through /proc/PID/root.

import { readFileSync, readlinkSync, realpathSync } from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";
import type { ProcessRef } from "../../linux/process/proc.ts";
import { statFile } from "../../linux/process/stat-file.ts";

/** A process with a mount namespace of its own, or not. */
export interface Rooted {
  readonly identity: { readonly pid: number };
  /** "" in our own mount namespace, else "/proc/PID/root". */
  readonly root: string;
}

/** Where cprkit finds what the process calls `path` (absolute). */
export function outside({ root }: Rooted, path: string): string {
  return root + path;
}

/**
 * What the process calls our `path`, which must be there: the same, or another mount of the same file system. undefined
 * if it does not see it.
 */
export function inside({ identity: { pid }, root }: Rooted, path: string): string | undefined {
  if (root === "") return path;
  const is = (name: string) => {
    const [there, here] = [statFile(root + name), statFile(path)];
    return here !== undefined && there?.dev === here.dev && there.ino === here.ino;
  };
  if (is(path)) return path;
  const own = mountsOf("self")
    .filter(({ at }) => isBelow(path, at))
    .reduce<Mount | undefined>((last, mount) => (mount.at.length >= (last?.at.length ?? 0) ? mount : last), undefined);
  if (own === undefined) return undefined;
  const inFileSystem = join(own.root, relative(own.at, path));
  return mountsOf(pid)
    .filter((mount) => mount.device === own.device && isBelow(inFileSystem, mount.root))
    .map((mount) => join(mount.at, relative(mount.root, inFileSystem)))
    .find(is);
}

/** The name of a process's root folder in /proc, if the path begins with one; it must not be resolved as a link. */
const procRoot = /^\/proc\/(\d+)\/root(?=\/)/;

/** The process through whose root folder a path leads. */
export function pidOfRoot(path: string | undefined): number | undefined {
  const pid = procRoot.exec(path ?? "")?.[1];
  return pid === undefined ? undefined : Number(pid);
}

/** A path through the root folder of process `from`, now through that of `to`, which has the same one. */
export function throughRootOf(path: string, from: number, to: number): string {
  return pidOfRoot(path) === from ? path.replace(procRoot, `/proc/${to}/root`) : path;
}

/** Follows the links that an earlier update left; what is not there is left to the connection to complain about. */
export function realPath(path: string): string {
  try {
    // Links in there are meant from that root folder; cprkit's own lead into the folder that they are in.
    if (pidOfRoot(resolve(path)) === undefined) return realpathSync(path);
    const target = readlinkSync(path);
    return target === basename(target) ? join(dirname(resolve(path)), target) : resolve(path);
  } catch {
    return resolve(path);
  }
}

interface Mount {
  readonly device: string;
  /** The folder of the file system that is mounted. */
  readonly root: string;
  /** Where. */
  readonly at: string;
}

/** proc_pid_mountinfo(5). */
function mountsOf(pid: ProcessRef): Mount[] {
  const text = readFileSync(`/proc/${pid}/mountinfo`, "utf8");
  const plain = (path: string) =>
    path.replace(/\\(\d{3})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 8)));
  return text.split("\n").flatMap((line) => {
    const [, , device, root, at] = line.split(" ");
    return device === undefined || root === undefined || at === undefined
      ? []
      : [{ device, root: plain(root), at: plain(at) }];
  });
}

function isBelow(path: string, folder: string): boolean {
  return folder === "/" || path === folder || path.startsWith(`${folder}/`);
}
