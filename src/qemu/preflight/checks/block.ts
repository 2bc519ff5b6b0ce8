// What goes on in the block layer, and would be gone.

import { blocker, type Finding } from "../../finding.ts";
import type { Facts } from "../facts.ts";

export function checkBlock({ jobs, exports, blockNodes }: Facts): Finding[] {
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
    ...blockNodes.flatMap((node) =>
      (node["dirty-bitmaps"] ?? []).flatMap(({ name, persistent }) => {
        if (name === undefined || name === "" || persistent) return [];
        const where = node["node-name"] ?? node.file;
        const message = `bitmap ${name} of ${where} is not persistent: it would be gone, and with it the base of the next backup`;
        const remedy = "back up and remove it (block-dirty-bitmap-remove), or make persistent ones";
        return [blocker("dirty-bitmap", message, remedy, `${where}/${name}`)];
      }),
    ),
  ];
}
