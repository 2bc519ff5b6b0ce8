// One update a VM at a time. The lock names its holder by pid and start time, so one that died holds nothing, even
// when its pid has gone to another process.

import { linkSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { closeFds, isRunning, type ProcessIdentity, processIdentity } from "../../../linux/index.ts";
import { lockProcess } from "../../../linux/process/lock-process.ts";
import { CprkitError } from "../../../vmstate/error.ts";
import { createOwnFile, isError, readOwnFile } from "./checked-folder.ts";

/** A process that holds a lock. */
export interface LockHolder {
  readonly pid: number;
  readonly startTime: bigint;
}

const fileName = "lock";

/** So many times the lock may change hands while it is being taken. */
const maxAttempts = 100;

/**
 * Takes the lock in a checked folder; the returned function gives it back, and never throws: a lock whose holder has
 * ended holds nothing.
 *
 * @throws CprkitError ERR_UPDATE_REFUSED when a living process holds it, ERR_FILE when it can't be written or read.
 */
export function takeLock(folder: string): () => void {
  const path = join(folder, fileName);
  const own = processIdentity("self");
  const text = `${own.pid} ${own.startTime}\n`;
  const draft = `${path}.${own.pid}`;
  try {
    removeDrafts(folder);
    createOwnFile(draft, text, { sync: false });
    for (let attempt = 0; ; attempt++) {
      try {
        // link fails when the name is there: of two processes one gets it.
        linkSync(draft, path);
        break;
      } catch (error) {
        if (!isError(error, "EEXIST") || attempt >= maxAttempts) throw error;
      }
      const before = readOwnFile(path);
      if (before === undefined) continue;
      const holder = parse(before);
      if (holder !== undefined && isRunning(holder)) throw held(holder);
      removeStale(path, before, own.pid);
    }
  } catch (cause) {
    if (cause instanceof CprkitError && cause.code === "ERR_UPDATE_REFUSED") throw cause;
    const why = cause instanceof CprkitError ? cause.reason : `${path}: ${String(cause)}`;
    throw new CprkitError("ERR_FILE", `the lock of this VM can't be taken: ${why}; look at it, then remove it`, {
      cause,
    });
  } finally {
    removeQuietly(draft);
  }
  return () => {
    if (readIfThere(path) === text) removeQuietly(path);
  };
}

/**
 * Takes the lock of a running QEMU, whichever of its monitors and whichever state folder the update was given; as
 * {@link takeLock}. It ends with this process.
 */
export function takeProcessLock(identity: ProcessIdentity): () => void {
  const lock = lockProcess(identity);
  if ("holder" in lock) throw held({ pid: lock.holder });
  return () => closeFds([lock.fd]);
}

/** @throws CprkitError ERR_UPDATE_REFUSED when a living process holds the lock in `folder` */
export function refuseHeld(folder: string): void {
  const holder = lockHolder(folder);
  if (holder !== undefined) throw held(holder);
}

/** Whether it says that somebody else holds the lock. */
export function isHeldError(error: unknown): boolean {
  return heldErrors.has(error as object);
}

const heldErrors = new WeakSet<object>();

/** Who holds the lock now, if it lives. */
export function lockHolder(folder: string): LockHolder | undefined {
  const holder = parse(readIfThere(join(folder, fileName)) ?? "");
  return holder !== undefined && isRunning(holder) ? holder : undefined;
}

/** What processes that were killed while they took the lock left behind. */
function removeDrafts(folder: string): void {
  for (const name of readdirSync(folder)) {
    const [, pid] = /^lock\.(?:stale\.)?(\d+)$/.exec(name) ?? [];
    if (pid === undefined) continue;
    const holder = parse(readIfThere(join(folder, name)) ?? "");
    if (holder === undefined || holder.pid === process.pid || !isRunning(holder)) removeQuietly(join(folder, name));
  }
}

function removeQuietly(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // A disk that can't be written any more, or a folder.
  }
}

/** Moves the stale lock away; if it was somebody's new one instead, puts it back. */
function removeStale(path: string, expected: string, pid: number): void {
  const aside = `${path}.stale.${pid}`;
  try {
    renameSync(path, aside);
  } catch {
    return;
  }
  if (readIfThere(aside) !== expected) {
    try {
      linkSync(aside, path);
    } catch {
      // A third one has it by now.
    }
  }
  removeQuietly(aside);
}

function held({ pid }: Pick<LockHolder, "pid">): CprkitError {
  const who = pid === 0 ? "another process" : `process ${pid}`;
  const error = new CprkitError(
    "ERR_UPDATE_REFUSED",
    `${who} is updating this VM at the moment: wait for it, or end it (Ctrl-C rolls back) and try again`,
  );
  heldErrors.add(error);
  return error;
}

function parse(text: string): LockHolder | undefined {
  const match = /^(\d+) (\d+)\n$/.exec(text);
  return match?.[1] === undefined || match[2] === undefined
    ? undefined
    : { pid: Number(match[1]), startTime: BigInt(match[2]) };
}

function readIfThere(path: string): string | undefined {
  try {
    return readOwnFile(path);
  } catch {
    return undefined;
  }
}
