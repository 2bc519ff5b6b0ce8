// One update a VM at a time. The lock names its holder by pid and start time, so one that died holds nothing, even
// when its pid has gone to another process.

import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { processIdentity } from "../../../linux/index.ts";
import { CprkitError } from "../../../vmstate/error.ts";
import { isAlive } from "../../vm/process.ts";

/** A process that holds a lock. */
export interface LockHolder {
  readonly pid: number;
  readonly startTime: bigint;
}

const fileName = "lock";

/**
 * Takes the lock in `folder`; the returned function gives it back.
 *
 * @throws CprkitError ERR_UPDATE_REFUSED when a living process holds it, ERR_FILE when it can't be written.
 */
export function takeLock(folder: string): () => void {
  const path = join(folder, fileName);
  const own = processIdentity("self");
  const text = `${own.pid} ${own.startTime}\n`;
  const draft = `${path}.${own.pid}`;
  try {
    writeFileSync(draft, text, { mode: 0o600 });
    for (;;) {
      try {
        // link fails when the name is there: of two processes one gets it.
        linkSync(draft, path);
        break;
      } catch (error) {
        if (!isExists(error)) throw error;
      }
      const before = readIfThere(path);
      if (before === undefined) continue;
      const holder = parse(before);
      if (holder !== undefined && isAlive(holder)) throw held(holder);
      removeStale(path, before, own.pid);
    }
  } catch (cause) {
    if (cause instanceof CprkitError) throw cause;
    throw new CprkitError("ERR_FILE", `${path}: the lock can't be taken: ${String(cause)}`, { cause });
  } finally {
    rmSync(draft, { force: true });
  }
  return () => {
    if (readIfThere(path) === text) rmSync(path, { force: true });
  };
}

/** Who holds the lock now, if it lives. */
export function lockHolder(folder: string): LockHolder | undefined {
  const holder = parse(readIfThere(join(folder, fileName)) ?? "");
  return holder !== undefined && isAlive(holder) ? holder : undefined;
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
  rmSync(aside, { force: true });
}

function held({ pid }: LockHolder): CprkitError {
  return new CprkitError(
    "ERR_UPDATE_REFUSED",
    `process ${pid} is updating this VM at the moment: wait for it, or end it (Ctrl-C rolls back) and try again`,
  );
}

function parse(text: string): LockHolder | undefined {
  const match = /^(\d+) (\d+)\n$/.exec(text);
  return match?.[1] === undefined || match[2] === undefined
    ? undefined
    : { pid: Number(match[1]), startTime: BigInt(match[2]) };
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

function isExists(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "EEXIST";
}
