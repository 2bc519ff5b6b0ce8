// Block jobs (a mirror, a backup, a commit) end with the old QEMU: an update can wait until they are over.

import { setTimeout as delay } from "node:timers/promises";
import type { WaitOptions } from "../../linux/index.ts";
import type { Qmp } from "../qmp/client.ts";
import type { QmpReturn } from "../qmp/schema.ts";

interface JobWait extends WaitOptions {
  readonly waitForJobsMs?: number | undefined;
  readonly onWait?: ((text: string) => void) | undefined;
}

/**
 * Waits until no job is left, or `waitForJobsMs` have passed: then preflight names those that are left. A job that is ready
 * ends only when somebody completes or cancels it, and is waited for, too.
 *
 * @throws CprkitError as {@link Qmp.execute}; the signal's reason when aborted
 */
export async function waitForJobs(qmp: Qmp, options: JobWait): Promise<void> {
  const { waitForJobsMs = 0, onWait, signal, timeoutMs } = options;
  const end = performance.now() + waitForJobsMs;
  let told = "";
  while (performance.now() < end) {
    const jobs = (await qmp.execute("query-jobs", undefined, { signal, timeoutMs })).filter(isGoing);
    if (jobs.length === 0) return;
    const text = `waiting for ${jobs.map(jobText).join(", ")}`;
    if (text !== told) onWait?.(text);
    told = text;
    await delay(Math.min(pollMs, Math.max(0, end - performance.now())), undefined, { signal });
  }
}

const pollMs = 200;

type Job = QmpReturn<"query-jobs">[number];

/** Not one that is over, and only was not dismissed. */
export function isGoing({ status }: Job): boolean {
  return status !== "concluded" && status !== "null";
}

/** "the mirror job j0 (running, 40 % done)". */
export function jobText({ id, type, status, "current-progress": done, "total-progress": total }: Job): string {
  const progress = total === 0 ? "" : `, ${Math.floor((100 * done) / total)} % done`;
  return `the ${type} job ${id} (${status}${progress})`;
}
