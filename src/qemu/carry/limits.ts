// I/O limits of disks (block_set_io_throttle) and of throttle groups, the bounds of latency histograms and write thresholds:
// set again, whoever set them; where the command line has them already, nothing changes.

import type { Machine } from "../machine/schema.ts";
import type { Carried, CarryInput, CarryPlan, QmpStep } from "./subject.ts";

/** Each device's limits and the group that it shares them with (QEMU 10.0 block/block-backend.c). */
export function carryLimits({ machine, options }: CarryInput): Pick<CarryPlan, "carried" | "before"> {
  const isLimited = ({ limits }: BlockDevice) => Object.keys(limits).length > 0;
  // Limits that the command line sets may have been taken away since.
  const mayHaveBeen = options.some(({ name, value = "" }) => name === "drive" && /throttling|bps|iops/.test(value));
  const { devices, nodes } = machine.block;
  const groups = machine.qom.flatMap(({ path, type, properties }) =>
    type === "throttle-group" ? [{ path, limits: properties["limits"] }] : [],
  );
  const histograms = devices.filter((device) => Object.keys(device.histograms ?? {}).length > 0);
  const watched = nodes.filter((node) => thresholdOf(node) > 0 && !node.name.startsWith("#"));
  return {
    carried: [
      ...devices.filter(isLimited).map(carried),
      ...groups.map(({ path }) => ({
        subject: path,
        what: `limits of throttle group ${path.replace("/objects/", "")}`,
      })),
      ...histograms.map((one) => ({ subject: nameOf(one), what: `latency histograms of ${nameOf(one)}, empty` })),
      ...watched.map(({ name }) => ({ subject: name, what: `write threshold of ${name}` })),
    ],
    before: [
      ...devices.filter((device) => isLimited(device) || (mayHaveBeen && device.node !== undefined)).map(command),
      ...groups.map(({ path, limits }) => ({
        execute: "qom-set",
        arguments: { path, property: "limits", value: limits },
      })),
      ...histograms.map(histogram),
      ...watched.map((node) => ({
        execute: "block-set-write-threshold",
        arguments: { "node-name": node.name, "write-threshold": thresholdOf(node) },
      })),
    ],
  };
}

function thresholdOf({ other }: Machine["block"]["nodes"][number]): number {
  return Number(other["write_threshold"] ?? 0);
}

/** Bounds by QEMU's names: "rd" is "boundaries-read". */
function histogram({ device, qdev, histograms = {} }: BlockDevice): QmpStep {
  const names: Readonly<Record<string, string>> = { rd: "read", wr: "write", flush: "flush", zone_append: "zap" };
  const bounds = Object.entries(histograms).map(([kind, list]) => [`boundaries-${names[kind] ?? kind}`, list]);
  return { execute: "block-latency-histogram-set", arguments: { id: qdev ?? device, ...Object.fromEntries(bounds) } };
}

function nameOf({ device, qdev }: BlockDevice): string {
  return device === "" ? (qdev ?? "") : device;
}

type BlockDevice = Machine["block"]["devices"][number];

function command({ device, qdev, limits }: BlockDevice): QmpStep {
  const which = device === "" ? { id: qdev } : { device };
  const none = Object.fromEntries(required.map((name) => [name, 0]));
  return { execute: "block_set_io_throttle", arguments: { ...which, ...none, ...limits } };
}

/** Those that the command demands, also when they are 0. */
const required = ["bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"];

function carried(device: BlockDevice): Carried {
  const subject = nameOf(device);
  const text = Object.entries(device.limits)
    .map(([name, value]) => `${name} ${value}`)
    .join(", ");
  return { subject, what: `I/O limits of ${subject}: ${text}` };
}
