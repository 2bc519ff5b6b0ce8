// Waiting for one thing with a time limit and an AbortSignal, leaving neither timer nor listener behind.

import { CprkitError } from "../../vmstate/error.ts";

/** How long a caller is ready to wait. */
export interface WaitOptions {
  /** Milliseconds; Infinity waits for ever. */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What a wait is told by what it waits for. */
export interface Settle<T> {
  resolve(value: T): void;
  reject(error: unknown): void;
}

/**
 * Calls `begin` and waits until it settles, the time is over or the signal fires. `begin` returns what undoes it,
 * which is called exactly once, whichever way the wait ends.
 *
 * @param what completes "aborted while ...", such as `waiting for event "STOP"`.
 * @param onTimeout says what was waited for and what to do.
 * @throws CprkitError ERR_TIMEOUT (the text of `onTimeout`), ERR_ABORTED, or whatever `begin` rejects with.
 */
export function waitFor<T>(
  what: string,
  options: WaitOptions & { readonly timeoutMs: number },
  onTimeout: () => string,
  begin: (settle: Settle<T>) => () => void,
): Promise<T> {
  const { timeoutMs, signal } = options;
  if (!(timeoutMs > 0)) {
    return Promise.reject(new CprkitError("ERR_USAGE", `timeoutMs must be greater than 0, found ${timeoutMs}`));
  }
  return new Promise<T>((resolve, reject) => {
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
    // A timer longer than this would fire at once (Node 20 lib/internal/timers.js, TIMEOUT_MAX).
    if (timeoutMs <= 2 ** 31 - 1) {
      timer = setTimeout(() => settle.reject(new CprkitError("ERR_TIMEOUT", onTimeout())), timeoutMs);
    }
  });
}
