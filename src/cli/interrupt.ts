// Ctrl-C and SIGTERM end a command cleanly: its work is aborted, cleans up, and reports.

import { CprkitError, isCprkitError } from "../vmstate/error.ts";

/**
 * Runs `work` with a signal that SIGINT, SIGTERM and SIGHUP abort. Throws what it throws; an ERR_ABORTED says by which
 * signal.
 */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const stop = (name: NodeJS.Signals) => controller.abort(new Error(`interrupted by ${name}`));
  const names: NodeJS.Signals[] = ["SIGINT", "SIGTERM", "SIGHUP"];
  for (const name of names) process.on(name, stop);
  try {
    return await work(controller.signal);
  } catch (error) {
    if (!controller.signal.aborted || !isCprkitError(error, "ERR_ABORTED")) throw error;
    const { message } = controller.signal.reason as Error;
    throw new CprkitError("ERR_ABORTED", `${message}: ${error.message}`, { cause: error });
  } finally {
    for (const name of names) process.off(name, stop);
  }
}
