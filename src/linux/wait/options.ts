// How long a caller is ready to wait, the same for everything in cprkit that waits.

import { CprkitError } from "../../vmstate/error.ts";

/** How long a caller is ready to wait. */
export interface WaitOptions {
  /** Ends the wait with ERR_ABORTED; its reason is the error's cause. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Ends the wait with ERR_TIMEOUT after that many milliseconds.
   *
   * - 0: the time is over already. What is there counts; nothing is waited for, and no command is sent whose answer
   *   would have to be waited for.
   * - Infinity, and anything above 2^31-1 (24.8 days, the longest delay of setTimeout): no limit.
   * - undefined: the default of the function that waits.
   */
  readonly timeoutMs?: number | undefined;
}

/** Returns `timeoutMs`. @throws CprkitError ERR_VALUE when it is negative or NaN */
export function checkTimeout<T extends number | undefined>(timeoutMs: T): T {
  if (timeoutMs === undefined || timeoutMs >= 0) return timeoutMs;
  throw new CprkitError("ERR_VALUE", `timeoutMs: expected 0 or more milliseconds, or Infinity, found ${timeoutMs}`);
}

/** The longest delay of setTimeout, in ms; a longer one would fire at once (Node 20 lib/internal/timers.js). */
export const maxDelayMs = 2 ** 31 - 1;
