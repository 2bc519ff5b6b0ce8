// Compares the machine that the new QEMU has built with the running one, before anything is stopped. QEMU would find
// out while it loads, when the guest stands still; with cpr-exec there would be no way back then.

import type { WaitOptions } from "../../../linux/index.ts";
import { CprkitError } from "../../../vmstate/error.ts";
import type { Qmp } from "../../qmp/client.ts";
import { addedDevices, type QomChild, qomChildren, qomProperties } from "../../qmp/qom.ts";

/**
 * Machine type, number of CPUs, and PCI devices with their places must be the same; between QEMUs of one version also the types of all
 * other devices and parts, which may differ from one version to another.
 *
 * @throws CprkitError ERR_UPDATE_REFUSED naming the first difference; as `Qmp.execute`
 */
export async function expectSameMachine(source: Qmp, destination: Qmp, options: WaitOptions): Promise<void> {
  const [here, there] = await Promise.all([describe(source, options), describe(destination, options)]);
  const [a, b] = [source.greeting.version, destination.greeting.version];
  const isSameVersion = a.major === b.major && a.minor === b.minor;
  for (const part of ["type", "cpus", "pci", ...(isSameVersion ? (["parts"] as const) : [])] as const) {
    if (here[part] === there[part]) continue;
    const [old, next] = firstDifference(here[part], there[part]);
    throw new CprkitError(
      "ERR_UPDATE_REFUSED",
      `the new QEMU has built another machine: ${names[part]} of the running one: ${old}, of the new one: ${next}; give ` +
        "it the same machine, CPUs and devices",
    );
  }
}

const names = { type: "machine type", cpus: "number of CPUs", pci: "PCI devices", parts: "devices" };

interface Machine {
  readonly type: string;
  readonly cpus: string;
  /** One line each. */
  readonly pci: string;
  readonly parts: string;
}

async function describe(qmp: Qmp, options: WaitOptions): Promise<Machine> {
  const [type, cpus, buses, unattached, ...folders] = await Promise.all([
    qmp.execute("qom-get", { path: "/machine", property: "type" }, options),
    qmp.execute("query-cpus-fast", undefined, options),
    qmp.execute("query-pci", undefined, options),
    qomChildren(qmp, "/machine/unattached", options),
    ...addedDevices.map((folder) => qomChildren(qmp, folder, options)),
  ]);
  const added = folders.flat();
  const places = await Promise.all(added.map((part) => pciPlace(qmp, part, options)));
  // Bus 0 alone: a bridge has no other bus number before the guest, or the state loaded, gives it one, and query-pci
  // lists nothing below it until then (QEMU 10.0 and 11.1).
  const pci = buses
    .flatMap(({ bus, devices }) => (bus === 0 ? devices : []))
    .map(({ slot, function: number, id }) => `${slot}.${number} ${id.vendor.toString(16)}:${id.device.toString(16)}`);
  const parts = [...unattached, ...added].map((part) => part.type);
  return {
    type: String(type),
    cpus: String(cpus.length),
    pci: [...pci, ...places.flat()].sort().join("\n"),
    parts: parts.sort().join("\n"),
  };
}

/** A PCI device that was added to the machine: where it is, whatever number its bus has. Nothing for any other device. */
async function pciPlace(qmp: Qmp, { path, type }: QomChild, options: WaitOptions): Promise<string[]> {
  const { addr, parent_bus: bus } = await qomProperties(qmp, path, ["addr", "parent_bus"], options);
  if (addr === undefined || bus === undefined) return [];
  // Such as 40 for 05.0, on "/machine/peripheral/rp1/rp1".
  const place = typeof addr === "number" ? `${addr >> 3}.${addr & 7}` : String(addr);
  return [`${place} ${type} on ${String(bus).split("/").at(-1)}`];
}

function firstDifference(a: string, b: string): readonly [string, string] {
  const [left, right] = [a.split("\n"), b.split("\n")];
  const only = (these: readonly string[], those: readonly string[]) => {
    const rest = [...those];
    return these.find((line) => {
      const at = rest.indexOf(line);
      if (at >= 0) rest.splice(at, 1);
      return at < 0;
    });
  };
  return [only(left, right) ?? "no such", only(right, left) ?? "no such"];
}
