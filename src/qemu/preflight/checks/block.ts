// What goes on in the block layer, and would be gone.

import { blocker, type Finding } from "../../finding.ts";
import type { Facts } from "../facts.ts";

export function checkBlock({ jobs, exports }: Facts): Finding[] {
  return [
    ...jobs.flatMap(({ id, type, status, "current-progress": done, "total-progress": total }) => {
      // Over, and only not dismissed yet.
      if (status === "concluded" || status === "null") return [];
      const progress = total === 0 ? "" : `, ${Math.floor((100 * done) / total)} % done`;
      const message = `the ${type} job ${id} is not over (${status}${progress}): it would end with the old QEMU`;
      return [blocker("block-job", message, "wait until it is done, or cancel it (job-cancel)", id)];
    }),
    ...exports.map(({ id, type }) => {
      const message = `the ${type} export ${id}: its clients would be cut off, and the new QEMU does not have it`;
      return blocker("block-export", message, "remove it for the update (block-export-del)", id);
    }),
  ];
}
