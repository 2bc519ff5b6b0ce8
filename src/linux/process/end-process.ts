// Ends a process for certain, also where the kernel refuses one of the ways to do it.

import { readdirSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { CprkitError, isCprkitError } from "../../vmstate/error.ts";
import { closeFds } from "../fd.ts";
import { readiness } from "../wait/readiness.ts";
import { openPidfd, signalPidfd } from "./pidfd.ts";
import { isRunning, isSameProcess, type ProcessIdentity } from "./proc.ts";

/**
 * Sends the signals in turn (0 sends none), each time waiting up to `waitMs` for the end. A later process with the same
 * pid gets none of them. Where a pidfd can't be had or used (before Linux 5.3, a seccomp filter, no fd left), the
 * signal goes to the pid, just after the start time was compared.
 *
 * Never throws: it is called when it matters most what else is done.
 *
 * @returns undefined when the process is gone, else why it still runs, in words
 */
export async function endProcess(
  identity: ProcessIdentity,
  signals: readonly (NodeJS.Signals | 0)[],
  waitMs: number,
): Promise<string | undefined> {
  let pidfd: number | undefined;
  let why = `it has not ended within ${waitMs} ms after ${signals.at(-1)}`;
  try {
    pidfd = tryPidfd(identity);
    for (const signal of signals) {
      const refusal = signal === 0 ? undefined : send(identity, pidfd, signal);
      if (refusal !== undefined) why = refusal;
      if (await hasEnded(identity, pidfd, refusal === undefined ? waitMs : 0)) return undefined;
    }
  } catch (error) {
    why = textOf(error);
  } finally {
    if (pidfd !== undefined) closeFds([pidfd]);
  }
  return `process ${identity.pid} can't be ended: ${why}`;
}

const pollMs = 5;

/** Undefined where there is none to be had; for a process that has ended it does not matter. */
function tryPidfd(identity: ProcessIdentity): number | undefined {
  try {
    return openPidfd(identity);
  } catch (error) {
    if (isCprkitError(error)) return undefined;
    throw error;
  }
}

/** Returns what the kernel has against it. */
function send(identity: ProcessIdentity, pidfd: number | undefined, signal: NodeJS.Signals): string | undefined {
  if (pidfd !== undefined) {
    try {
      signalPidfd(pidfd, signal);
      return undefined;
    } catch (error) {
      if (!isCprkitError(error)) throw error;
    }
  }
  if (!isSameProcess(identity)) return undefined;
  try {
    process.kill(identity.pid, signal);
    return undefined;
  } catch (error) {
    return textOf(error);
  }
}

async function hasEnded(identity: ProcessIdentity, pidfd: number | undefined, waitMs: number): Promise<boolean> {
  const end = performance.now() + waitMs;
  while (!isGone(identity, pidfd)) {
    if (performance.now() > end) return false;
    await delay(pollMs);
  }
  return true;
}

/** With all its threads: the first one may have ended while another still has the sockets open. */
function isGone(identity: ProcessIdentity, pidfd: number | undefined): boolean {
  if (isRunning(identity)) return false;
  try {
    if (pidfd !== undefined) return readiness(pidfd).readable;
  } catch (error) {
    if (!isCprkitError(error)) throw error;
  }
  try {
    return readdirSync(`/proc/${identity.pid}/task`).length <= 1;
  } catch {
    return true;
  }
}

function textOf(error: unknown): string {
  return error instanceof CprkitError ? error.reason : String(error);
}
