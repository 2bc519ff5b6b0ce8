// All that an update carries by itself because QEMU's CPR does not: what was set, added, changed or removed since the
// VM's start. One file per subject; each sees the command line as those before have left it.

import { carryBitmaps } from "./block/bitmaps.ts";
import { carryDisks } from "./block/disks.ts";
import { releaseExports, returnExports } from "./block/exports.ts";
import { takeImages } from "./block/idle-nodes.ts";
import { carryChardevs } from "./chardevs.ts";
import { carryDevices } from "./devices.ts";
import { carryLimits } from "./limits.ts";
import { carryMemory } from "./memory.ts";
import { carryNetdevs } from "./netdevs.ts";
import { carryObjects } from "./objects.ts";
import { carryPortPairs } from "./port-pairs.ts";
import { carryPorts } from "./ports.ts";
import { carrySettings } from "./settings.ts";
import type { CarryInput, CarryPlan, Subject } from "./subject.ts";

/** In their order: what a device refers to comes before the device. */
const subjects: readonly Subject[] = [
  takeImages,
  releaseExports,
  carryObjects,
  carryMemory,
  carryBitmaps,
  carryDisks,
  carryChardevs,
  carryPortPairs,
  carryNetdevs,
  carryPorts,
  carryDevices,
  carryLimits,
  carrySettings,
  returnExports,
];

/** What must be done so that the new QEMU has what the VM has now. Pure. */
export function planCarry(input: CarryInput): CarryPlan {
  const nothing: CarryPlan = {
    options: input.options,
    carried: [],
    findings: [],
    before: [],
    after: [],
    release: [],
  };
  return subjects.reduce((plan, subject) => {
    const said = subject({ ...input, options: plan.options });
    return {
      options: said.options ?? plan.options,
      carried: [...plan.carried, ...(said.carried ?? [])],
      findings: [...plan.findings, ...(said.findings ?? [])],
      before: [...plan.before, ...(said.before ?? [])],
      after: [...plan.after, ...(said.after ?? [])],
      release: [...plan.release, ...(said.release ?? [])],
    };
  }, nothing);
}
