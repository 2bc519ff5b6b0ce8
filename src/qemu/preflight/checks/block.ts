// What goes on in the block layer, and would be gone.

import { blocker, type Finding } from "../../finding.ts";
import type { Facts } from "../facts.ts";
import { isGoing, jobText } from "../jobs.ts";

export function checkBlock({ jobs }: Facts): Finding[] {
  return jobs.filter(isGoing).map((job) => {
    const message = `${jobText(job)} is not over: it would end with the old QEMU`;
    const remedy = "wait until it is done (--wait-for-jobs SECONDS), or cancel it (job-cancel)";
    return blocker("block-job", message, remedy, job.id);
  });
}
