// Hands the paths that people use over to the new QEMU, and tidies up the paths of one that is gone.

import { lstatSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { listeningUnixSockets } from "../../linux/index.ts";
import { CprkitError } from "../../vmstate/error.ts";
import type { MovedName } from "../command-line/derive.ts";
import { asUser, type FileUser } from "../vm/as-user.ts";

/**
 * Makes each public path a link to what the new QEMU made, in one step, with the rights of QEMU's user. For sockets once the old QEMU has ended: it
 * removes the paths of its sockets when it ends, even if they belong to another process by then.
 *
 * @returns what could not be done, in words
 */
export function handOver(moved: readonly MovedName[], owner: FileUser | undefined): string[] {
  return asOwner(owner, () => handOverAll(moved));
}

/** With the rights of QEMU's user, or not at all. */
function asOwner(owner: FileUser | undefined, act: () => string[]): string[] {
  try {
    return asUser(owner, act);
  } catch (error) {
    return [error instanceof CprkitError ? error.reason : String(error)];
  }
}

function handOverAll(moved: readonly MovedName[]): string[] {
  const problems: string[] = [];
  for (const name of moved) {
    try {
      // One whose socket never appeared (a chardev that failed would have ended QEMU): nothing to lead to.
      if (lstatSync(name.new, { throwIfNoEntry: false }) === undefined) continue;
      const link = join(dirname(name.public), `.${basename(name.public)}.${process.pid}`);
      rmSync(link, { force: true });
      // Relative, so that it also leads there from within a container that has the folder elsewhere.
      symlinkSync(relative(dirname(name.public), name.new), link);
      renameSync(link, name.public);
    } catch (error) {
      problems.push(`${name.public} could not be made to lead to ${name.new}: ${String(error)}`);
      continue;
    }
    if (name.old !== name.public) problems.push(...removeUnused(name.old));
  }
  return problems;
}

/**
 * Removes what a QEMU that was killed left behind: it had no time to do it. Never throws.
 *
 * @returns what could not be removed, in words
 */
export function removeNames(moved: readonly MovedName[], owner: FileUser | undefined): string[] {
  return asOwner(owner, () => moved.flatMap(({ new: path }) => removeUnused(path)));
}

function removeUnused(path: string): string[] {
  try {
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (found === undefined || !(found.isSocket() || found.isFile())) return [];
    if (found.isSocket() && listeningUnixSockets().some((socket) => socket.path === path)) return [];
    rmSync(path, { force: true });
    return [];
  } catch (error) {
    return [`${path} is left over and could not be removed: ${String(error)}`];
  }
}
