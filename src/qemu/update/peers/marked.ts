// Finds the processes that an update started, also those that it had no time to write down: each carries the update's
// id in its environment.

import { readdirSync, readFileSync } from "node:fs";
import { isRunning, type ProcessIdentity, processIdentity } from "../../../linux/index.ts";
import { isCprkitError } from "../../../vmstate/error.ts";
import { endProcess } from "./peer.ts";

/** The variable that holds the id. */
export const markVariable = "CPRKIT_UPDATE";

/** Living processes that were started by the update with this id. */
export function findMarked(id: string): ProcessIdentity[] {
  const mark = `${markVariable}=${id}`;
  return processesWith((words) => words.includes(mark));
}

/** Living processes that were started by any update. */
export function findAllMarked(): ProcessIdentity[] {
  return processesWith((words) => words.some((word) => word.startsWith(`${markVariable}=`)));
}

/** Whose environment may be read: this user's, for root everybody's. */
function processesWith(isMeant: (environment: readonly string[]) => boolean): ProcessIdentity[] {
  return readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const identity = processIdentity(Number(name));
      const words = readFileSync(`/proc/${name}/environ`, "utf8").split("\0");
      return isMeant(words) && isRunning(identity) ? [identity] : [];
    } catch (error) {
      // Gone by now, or another user's.
      if (error instanceof Error && ("code" in error || isCprkitError(error))) return [];
      throw error;
    }
  });
}

/** Ends them all, except those with the given pids. */
export async function endMarked(id: string, except: readonly number[]): Promise<void> {
  for (const identity of findMarked(id)) {
    if (!except.includes(identity.pid) && identity.pid !== process.pid) await endProcess(identity, ["SIGKILL"], 10_000);
  }
}
