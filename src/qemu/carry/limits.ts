// I/O limits of disks (block_set_io_throttle): set again, whoever set them; where -drive has them already, nothing changes.

import type { Machine } from "../machine/schema.ts";
import type { Carried, CarryInput, CarryPlan, QmpStep } from "./subject.ts";

/** Each device's limits and the group that it shares them with (QEMU 10.0 block/block-backend.c). */
export function carryLimits({ machine, options }: CarryInput): Pick<CarryPlan, "carried" | "before"> {
  const isLimited = ({ limits }: BlockDevice) => Object.keys(limits).length > 0;
  // Limits that the command line sets may have been taken away since.
  const mayHaveBeen = options.some(({ name, value = "" }) => name === "drive" && /throttling|bps|iops/.test(value));
  const { devices } = machine.block;
  return {
    carried: devices.filter(isLimited).map(carried),
    before: devices.filter((device) => isLimited(device) || (mayHaveBeen && device.node !== undefined)).map(command),
  };
}

type BlockDevice = Machine["block"]["devices"][number];

function command({ device, qdev, limits }: BlockDevice): QmpStep {
  const which = device === "" ? { id: qdev } : { device };
  const none = Object.fromEntries(required.map((name) => [name, 0]));
  return { execute: "block_set_io_throttle", arguments: { ...which, ...none, ...limits } };
}

/** Those that the command demands, also when they are 0. */
const required = ["bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"];

function carried({ device, qdev, limits }: BlockDevice): Carried {
  const subject = device === "" ? (qdev ?? "") : device;
  const text = Object.entries(limits)
    .map(([name, value]) => `${name} ${value}`)
    .join(", ");
  return { subject, what: `I/O limits of ${subject}: ${text}` };
}
