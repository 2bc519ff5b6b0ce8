// One AbortSignal for many things at once.

import { setMaxListeners } from "node:events";

/** A signal that follows `signal`, for many waits at the same time: Node warns of a leak at the eleventh listener. */
export function roomySignal(signal: AbortSignal | undefined): AbortSignal | undefined {
  if (signal === undefined) return undefined;
  const own = AbortSignal.any([signal]);
  setMaxListeners(0, own);
  return own;
}
