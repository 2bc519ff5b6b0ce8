// Hands the paths that people use over to the new QEMU, and tidies up the paths of one that is gone.

import { closeSync, lstatSync, openSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { listeningUnixSockets } from "../../linux/index.ts";
import { CprkitError } from "../../vmstate/error.ts";
import { setOwner } from "../attributes/owners.ts";
import type { MovedName } from "../command-line/derive.ts";
import { asUser, type FileUser } from "../vm/as-user.ts";
import type { Peer } from "./peers/peer.ts";
import type { Journal } from "./record/journal.ts";

/**
 * Makes each public path a link to what the new QEMU made, in one step, with the rights of QEMU's user. For sockets once the old QEMU has ended: it
 * removes the paths of its sockets when it ends, even if they belong to another process by then.
 *
 * @returns what could not be done, in words
 */
export function handOver(moved: readonly MovedName[], journal: Names, peer: Peer): string[] {
  return inFolders(journal, peer, (place) => handOverAll(moved, place));
}

/** Of a journal: whose names they are, and in which mount namespace. */
type Names = Pick<Journal, "moved" | "owner" | "qmpInside">;

interface Place {
  /** Where the paths begin, as this process sees them. */
  readonly root: string;
  /** A process that has the sockets' network namespace. */
  readonly pid: number;
}

/** Acts with the rights of QEMU's user, in the file systems of a living QEMU of the update. */
function inFolders(names: Names, { identity: { pid } }: Peer, act: (place: Place) => string[]): string[] {
  if (names.qmpInside === undefined) return asOwner(names.owner, () => act({ root: "", pid }));
  let folder: number;
  try {
    // Held, for its user may not be allowed to look at that process.
    folder = openSync(`/proc/${pid}/root`, "r");
  } catch (error) {
    const paths = names.moved.map((name) => name.new).join(", ");
    return [`${paths} could not be reached, in the mount namespace of process ${pid}: ${String(error)}`];
  }
  try {
    return asOwner(names.owner, () => act({ root: `/proc/self/fd/${folder}`, pid }));
  } finally {
    closeSync(folder);
  }
}

/** With the rights of QEMU's user, or not at all. */
function asOwner(owner: FileUser | undefined, act: () => string[]): string[] {
  try {
    return asUser(owner, act);
  } catch (error) {
    return [error instanceof CprkitError ? error.reason : String(error)];
  }
}

function handOverAll(moved: readonly MovedName[], place: Place): string[] {
  const { root } = place;
  const problems: string[] = [];
  for (const name of moved) {
    try {
      // One whose socket never appeared (a chardev that failed would have ended QEMU): nothing to lead to.
      if (lstatSync(root + name.new, { throwIfNoEntry: false }) === undefined) continue;
      if (name.kind === "log") keepLog(name.public, root);
      const link = `${root}${join(dirname(name.public), `.${basename(name.public)}.${process.pid}`)}`;
      rmSync(link, { force: true });
      // Relative, so that it also leads there from within a container that has the folder elsewhere.
      symlinkSync(relative(dirname(name.public), name.new), link);
      renameSync(link, root + name.public);
    } catch (error) {
      problems.push(`${name.public} could not be made to lead to ${name.new}: ${String(error)}`);
      continue;
    }
    if (name.old !== name.public && name.kind !== "log") problems.push(...removeUnused(name.old, name.kind, place));
  }
  return problems;
}

/** What the old QEMU has written, under the name of an earlier generation. */
function keepLog(path: string, root: string): void {
  if (lstatSync(root + path, { throwIfNoEntry: false })?.isFile() !== true) return;
  let generation = 0;
  while (lstatSync(`${root}${path}.cpr${generation}`, { throwIfNoEntry: false }) !== undefined) generation += 1;
  renameSync(root + path, `${root}${path}.cpr${generation}`);
}

/**
 * Gives the sockets and the pidfile that the new QEMU has made the owner and mode of the old one's. Never throws.
 *
 * @returns what could not be done, in words
 */
export function setOwners(moved: readonly MovedName[], journal: Owned, peer: Peer): string[] {
  const { owned = [], owner, qmpInside } = journal;
  if (owner === undefined) return [];
  const root = qmpInside === undefined ? "" : `/proc/${peer.identity.pid}/root`;
  return owned.flatMap((file) => {
    const path = moved.find(({ old }) => old === file.path)?.new ?? file.path;
    return setOwner(root + path, file, owner) ?? [];
  });
}

type Owned = Pick<Journal, "owned" | "owner" | "qmpInside">;

/**
 * Removes what a QEMU that was killed left behind: it had no time to do it. Never throws.
 *
 * @param peer a QEMU of the update that lives, if one does
 * @returns what could not be removed, in words
 */
export function removeNames(journal: Names, peer: Peer): string[] {
  return inFolders(journal, peer, (place) => journal.moved.flatMap((name) => removeUnused(name.new, name.kind, place)));
}

function removeUnused(path: string, kind: MovedName["kind"], { root, pid }: Place): string[] {
  try {
    const found = lstatSync(root + path, { throwIfNoEntry: false });
    if (found === undefined || !(found.isSocket() || found.isFile())) return [];
    if (found.isSocket() && isListenedOn(path, pid)) return [];
    // A log that says why it failed.
    if (kind === "log" && found.size > 0) return [];
    rmSync(root + path, { force: true });
    return [];
  } catch (error) {
    return [`${path} is left over and could not be removed: ${String(error)}`];
  }
}

/** In our network namespace, or that of a QEMU of the update. */
function isListenedOn(path: string, pid: number): boolean {
  const isIt = ({ path: at }: { readonly path: string }) => at === path;
  if (listeningUnixSockets().some(isIt)) return true;
  try {
    return listeningUnixSockets(pid).some(isIt);
  } catch {
    // It has ended.
    return false;
  }
}
