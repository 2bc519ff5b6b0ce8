// Waiting for one thing with a time limit and an AbortSignal, leaving neither timer nor listener behind.

import { CprkitError } from "../../vmstate/error.ts";
import { checkTimeout, maxDelayMs, type WaitOptions } from "./options.ts";

/** Ends a wait, either way. The first call counts. */
export interface Settle<T> {
  resolve(value: T): void;
  reject(error: unknown): void;
}

/**
 * Calls `begin` and waits until it settles, the time is over or the signal fires. `begin` returns what undoes it,
 * which is called exactly once, whichever way the wait ends. With a time limit of 0 it may still settle at once.
 *
 * @param what completes "aborted while ...", such as `waiting for event "STOP"`.
 * @param onTimeout says what was waited for and what to do.
 * @throws CprkitError ERR_TIMEOUT (the text of `onTimeout`), ERR_ABORTED, ERR_VALUE for a time limit that is negative,
 * or whatever `begin` rejects with.
 */
export function waitFor<T>(
  what: string,
  options: WaitOptions,
  onTimeout: () => string,
  begin: (settle: Settle<T>) => () => void,
): Promise<T> {
  const { timeoutMs, signal } = options;
  return new Promise<T>((resolve, reject) => {
    checkTimeout(timeoutMs);
    const aborted = () => {
      const error = new CprkitError("ERR_ABORTED", `aborted while ${what}`, { cause: signal?.reason });
      settle.reject(error);
    };
    if (signal?.aborted === true) {
      reject(new CprkitError("ERR_ABORTED", `aborted before ${what}`, { cause: signal.reason }));
      return;
    }
    let done = false;
    let undo: (() => void) | undefined;
    let timer: NodeJS.Timeout | undefined;
    const finish = (): boolean => {
      if (done) return false;
      done = true;
      clearTimeout(timer);
      signal?.removeEventListener("abort", aborted);
      undo?.();
      return true;
    };
    const settle: Settle<T> = {
      resolve: (value) => {
        if (finish()) resolve(value);
      },
      reject: (error) => {
        if (finish()) reject(error);
      },
    };
    undo = begin(settle);
    if (done) {
      undo();
      return;
    }
    signal?.addEventListener("abort", aborted, { once: true });
    if (timeoutMs !== undefined && timeoutMs <= maxDelayMs) {
      timer = setTimeout(() => settle.reject(new CprkitError("ERR_TIMEOUT", onTimeout())), timeoutMs);
    }
  });
}
