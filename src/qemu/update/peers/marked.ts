// Finds the processes that an update started, also those that it had no time to write down: each carries the update's
// id in its environment.

import { readFileSync } from "node:fs";
import { isRunning, type ProcessIdentity, processIdentity } from "../../../linux/index.ts";
import { endProcess } from "../../../linux/process/end-process.ts";
import { processIds } from "../../../linux/process/proc.ts";
import { isCprkitError } from "../../../vmstate/error.ts";
import { isBetween } from "../../attributes/parent.ts";
import type { Journal } from "../record/journal.ts";

/** What a process that an update starts has in its environment: the update's id, and the QEMU that is updated. */
export function markOf({ id, source: { pid, startTime } }: Journal): Record<string, string> {
  return { [markVariable]: id, [sourceVariable]: `${pid}:${startTime}` };
}

const markVariable = "CPRKIT_UPDATE";
const sourceVariable = "CPRKIT_UPDATE_OF";

/** Living processes that were started by the update with this id. */
export function findMarked(id: string): ProcessIdentity[] {
  return processesWith(`${markVariable}=${id}\0`);
}

/** Living processes that were started by any update. */
export function findAllMarked(): ProcessIdentity[] {
  return processesWith(`${markVariable}=`);
}

/** Living processes that any update of this QEMU started, wherever its journal is. */
export function findStartedFor({ pid, startTime }: ProcessIdentity): ProcessIdentity[] {
  return processesWith(`${sourceVariable}=${pid}:${startTime}\0`);
}

/**
 * Those in whose environment a variable begins so, and whose environment may be read: this user's, for root everybody's. Not
 * those that only stand between (attributes/parent.ts).
 */
function processesWith(begin: string): ProcessIdentity[] {
  const isMeant = (pid: number) => `\0${readFileSync(`/proc/${pid}/environ`, "utf8")}\0`.includes(`\0${begin}`);
  return processIds().flatMap((pid) => {
    try {
      if (!isMeant(pid)) return [];
      const identity = processIdentity(pid);
      // Once more: the pid may have become another process's before it was identified.
      return isMeant(pid) && isRunning(identity) && !isBetween(pid) ? [identity] : [];
    } catch (error) {
      // Gone by now, or another user's.
      if (error instanceof Error && ("code" in error || isCprkitError(error))) return [];
      throw error;
    }
  });
}

/** Ends them all, except those with the given pids. @returns why some still run, in words */
export async function endMarked(id: string, except: readonly number[]): Promise<string[]> {
  const meant = findMarked(id).filter(({ pid }) => !except.includes(pid) && pid !== process.pid);
  const problems = await Promise.all(meant.map((identity) => endProcess(identity, ["SIGKILL"], 10_000)));
  return problems.filter((problem) => problem !== undefined);
}
