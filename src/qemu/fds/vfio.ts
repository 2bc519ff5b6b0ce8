// Which fds belong to VFIO, and under which name CPR carries each (QEMU 10.1 and newer; QEMU 10.0 carries none).

import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { readFdInfo } from "../../linux/process/proc.ts";
import { isCprkitError } from "../../vmstate/error.ts";
import type { Qmp } from "../qmp/client.ts";
import { addedDevices, qomChildren, qomProperties } from "../qmp/qom.ts";
import type { Fate } from "./fate.ts";

/** What must be known of a VM to name its VFIO fds. */
export interface VfioFacts {
  /** True from QEMU 10.1. */
  readonly preserved: boolean;
  /** Names of the VFIO devices: host address, or id of one that was passed by fd. */
  readonly devices: readonly string[];
  /** Ids of the iommufd objects. */
  readonly iommufds: readonly string[];
  /** How many interrupts' event notifiers CPR carries, or about as many: see {@link countInterrupts}. */
  readonly interrupts: number;
}

/** Asks QEMU for its VFIO devices: those given by -device. */
export async function vfioFacts(qmp: Qmp): Promise<VfioFacts> {
  const { major, minor } = qmp.greeting.version;
  const devices: string[] = [];
  for (const folder of addedDevices) {
    for (const { name, path, type } of await qomChildren(qmp, folder)) {
      if (!/^vfio-(pci|ccw|ap|platform|amd|calxeda)/.test(type)) continue;
      const { host } = await qomProperties(qmp, path, ["host"]);
      devices.push(typeof host === "string" && host !== "" ? host : name);
    }
  }
  const objects = await qomChildren(qmp, "/objects");
  const iommufds = objects.filter(({ type }) => type === "iommufd").map(({ name }) => name);
  const preserved = major > 10 || (major === 10 && minor >= 1);
  if (!preserved || devices.length === 0) return { preserved, devices, iommufds, interrupts: 0 };
  const { enabled } = await qmp.execute("query-kvm");
  const lines = readFileSync("/proc/interrupts", "utf8");
  return { preserved, devices, iommufds, interrupts: countInterrupts(lines, devices, enabled) };
}

/**
 * How many event notifiers the interrupts of VFIO devices have, by the kernel's table of interrupts: for a device two
 * (errors and requests), for each vector that is on one, and with KVM another, for a wired interrupt two. Somewhat fewer
 * for a device that does not report errors, and two more where an update has carried a wired interrupt that is off.
 *
 * @param table /proc/interrupts
 * @param devices their host addresses
 */
export function countInterrupts(table: string, devices: readonly string[], isKvm: boolean): number {
  const lines = [...table.matchAll(/\bvfio-(intx|msix?)(?:\[\d+\])?\(([^)]+)\)/g)].filter(([, , name = ""]) =>
    devices.includes(name),
  );
  const vectors = lines.filter(([, kind]) => kind !== "intx").length;
  return 2 * devices.length + 2 * (lines.length - vectors) + vectors * (isKvm ? 2 : 1);
}

/** Which VFIO device an fd of a process is, by its address on the host (Linux 7.x tells it). */
export function deviceBehind(pid: number, fd: number): string | undefined {
  try {
    const path = readFdInfo(pid, fd).fields.get("vfio-device-syspath");
    return path === undefined ? undefined : basename(path);
  } catch (error) {
    if (isCprkitError(error)) return undefined;
    throw error;
  }
}

/** The VFIO fds that CPR carries. Names follow QEMU 10.1 hw/vfio; with several devices some can't be distinguished. */
export function carriedVfio(
  links: ReadonlyMap<number, string>,
  facts: VfioFacts | undefined,
  behind: (fd: number) => string | undefined = () => undefined,
): Map<number, Fate> {
  const fates = new Map<number, Fate>();
  if (facts?.preserved !== true) return fates;
  const groups = [...links.values()]
    .flatMap((link) => /^\/dev\/vfio\/(?:noiommu-)?(\d+)$/.exec(link)?.[1] ?? [])
    .map(Number);
  const carried = (name: string | undefined, id: number | undefined, why: string): Fate => ({
    fate: "carried",
    ...(name === undefined ? {} : { name }),
    ...(id === undefined ? {} : { id }),
    why,
  });
  for (const [fd, link] of links) {
    const group = /^\/dev\/vfio\/(?:noiommu-)?(\d+)$/.exec(link)?.[1];
    if (group !== undefined) fates.set(fd, carried("vfio_group", Number(group), "VFIO group"));
    else if (link === "/dev/vfio/vfio") {
      fates.set(fd, carried("vfio_container_for_group", only(groups), "VFIO container, once for each of its groups"));
    } else if (/^anon_inode:\[vfio-device\]|^\/dev\/vfio\/devices\//.test(link)) {
      const address = behind(fd);
      const known = address !== undefined && facts.devices.includes(address) ? address : undefined;
      fates.set(fd, carried(known ?? only(facts.devices), 0, "VFIO device"));
    } else if (link === "/dev/iommu" || link === "anon_inode:[iommufd]") {
      fates.set(fd, carried(only(facts.iommufds), 0, "iommufd"));
    } else if (facts.devices.length > 0 && /^anon_inode:\[?eventfd/.test(link)) {
      const why = `one of about ${facts.interrupts} interrupts of VFIO devices, carried under the device's name; or created again`;
      fates.set(fd, { fate: "unknown", why });
    }
  }
  return fates;
}

/** The one element; with several it is not known which is meant. */
function only<T>(values: readonly T[]): T | undefined {
  return values.length === 1 ? values[0] : undefined;
}
