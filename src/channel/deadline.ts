// One moment by which the whole of a transfer must be done: a peer that sends a byte now and then does not renew it.

import type { WaitOptions } from "../linux/wait/options.ts";
import { checkTimeout } from "../linux/wait/options.ts";
import { CprkitError, isCprkitError } from "../vmstate/error.ts";

export interface Deadline {
  isOver(): boolean;
  /** Throws ERR_TIMEOUT when it has passed; `what` ends the sentence "not within N ms: waited for ...". */
  check(what: string): void;
  /** Waits as `wait` does, no longer than what is left. Throws ERR_TIMEOUT as {@link Deadline.check}. */
  wait<T>(what: string, wait: (options: WaitOptions) => Promise<T>): Promise<T>;
}

/** @param timeoutMs from now on, in ms */
export function deadlineIn(timeoutMs: number, signal: AbortSignal | undefined): Deadline {
  const end = performance.now() + checkTimeout(timeoutMs);
  const late = (what: string, cause?: unknown) =>
    new CprkitError("ERR_TIMEOUT", `not done within ${timeoutMs} ms: waited for ${what}`, { cause });
  const check = (what: string): void => {
    if (performance.now() >= end) throw late(what);
  };
  return {
    isOver: () => performance.now() >= end,
    check,
    wait: async (what, wait) => {
      try {
        return await wait({ signal, timeoutMs: Math.max(0, end - performance.now()) });
      } catch (error) {
        if (isCprkitError(error) && error.code === "ERR_TIMEOUT") throw late(what, error);
        throw error;
      }
    },
  };
}
