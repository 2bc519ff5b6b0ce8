// Whether somebody else could put another file in a path's place: then what the path says is not the administrator's word.

import { lstatSync, realpathSync } from "node:fs";
import { dirname } from "node:path";

/**
 * Who else than root and this process's user can replace or change the file, in words; undefined when nobody can. Every
 * folder above it counts, and of a symbolic link both its own place and that to which it leads.
 *
 * @throws Error when the file is not there
 */
export function replaceableBy(path: string): string | undefined {
  for (const name of new Set([path, realpathSync(path)])) {
    for (let at = name; ; at = dirname(at)) {
      const fault = faultOf(at, at === name);
      if (fault !== undefined) return fault;
      if (at === dirname(at)) break;
    }
  }
  return undefined;
}

function faultOf(path: string, isFile: boolean): string | undefined {
  const stat = lstatSync(path);
  const { uid, mode } = stat;
  if (uid !== 0 && uid !== process.geteuid?.()) return `${path} belongs to user ${uid}`;
  // A link's own mode says nothing. In a folder such as /tmp nobody replaces what is another's.
  if (stat.isSymbolicLink() || (!isFile && (mode & 0o1000) !== 0)) return undefined;
  if ((mode & 0o022) !== 0) return `${path} can be written by others (mode ${(mode & 0o7777).toString(8)})`;
  return undefined;
}
