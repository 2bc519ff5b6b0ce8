// Compares the machine that the new QEMU has built with the running one, before anything is stopped. QEMU would find
// out while it loads, when the guest stands still; with cpr-exec there would be no way back then.

import { CprkitError } from "../../../vmstate/error.ts";
import type { Qmp } from "../../qmp/client.ts";
import type { WaitOptions } from "../../qmp/wait.ts";

/**
 * Machine type, number of CPUs and PCI devices must be the same; between QEMUs of one version also the types of all
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
  const [type, cpus, buses, ...lists] = await Promise.all([
    qmp.execute("qom-get", { path: "/machine", property: "type" }, options),
    qmp.execute("query-cpus-fast", undefined, options),
    qmp.execute("query-pci", undefined, options),
    ...["/machine/unattached", "/machine/peripheral", "/machine/peripheral-anon"].map((path) =>
      qmp.execute("qom-list", { path }, options),
    ),
  ]);
  const pci = buses.flatMap(({ devices }) => devices.flatMap(pciLines));
  const parts = lists.flat().flatMap((property) => (property.type.startsWith("child<") ? [property.type] : []));
  return { type: String(type), cpus: String(cpus.length), pci: pci.sort().join("\n"), parts: parts.sort().join("\n") };
}

interface PciDevice {
  readonly slot: number;
  readonly function: number;
  readonly id: { readonly vendor: number; readonly device: number };
  readonly pci_bridge?: { readonly devices?: readonly PciDevice[] | undefined } | undefined;
}

/** Not the bus numbers: the guest gives those. */
function pciLines(device: PciDevice): string[] {
  const { slot, function: number, id, pci_bridge: bridge } = device;
  const below = (bridge?.devices ?? []).flatMap(pciLines).map((line) => `${slot}.${number}/${line}`);
  return [`${slot}.${number} ${id.vendor.toString(16)}:${id.device.toString(16)}`, ...below];
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
