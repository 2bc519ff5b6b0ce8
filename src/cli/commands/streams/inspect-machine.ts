// cprkit inspect, for a machine that runs.

import { readMachine } from "../../../qemu/machine/read.ts";
import type { Machine } from "../../../qemu/machine/schema.ts";
import type { VmTarget } from "../../../qemu/vm/open.ts";
import { interruptible } from "../../interrupt.ts";
import { print, printJson } from "../../output.ts";
import { startProgress } from "../../progress.ts";
import { machineText } from "../../view/machine.ts";

/** Prints the machine. Throws as {@link readMachine}. */
export async function inspectMachine(target: VmTarget, json: boolean): Promise<void> {
  const progress = startProgress("asking the VM", json);
  let machine: Machine;
  try {
    machine = await interruptible((signal) => readMachine(target, { signal }));
  } finally {
    progress.stop();
  }
  if (json) printJson(machine);
  else print(machineText(machine));
}
