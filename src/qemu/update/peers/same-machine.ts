// Compares the machine that the new QEMU has built with the running one, before anything is stopped. QEMU would find
// out while it loads, when the guest stands still; with cpr-exec there would be no way back then.

import type { WaitOptions } from "../../../linux/index.ts";
import { CprkitError } from "../../../vmstate/error.ts";
import type { Qmp } from "../../qmp/client.ts";

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
  const [type, cpus, buses, unattached, named, unnamed] = await Promise.all([
    qmp.execute("qom-get", { path: "/machine", property: "type" }, options),
    qmp.execute("query-cpus-fast", undefined, options),
    qmp.execute("query-pci", undefined, options),
    listParts(qmp, "/machine/unattached", options),
    listParts(qmp, "/machine/peripheral", options),
    listParts(qmp, "/machine/peripheral-anon", options),
  ]);
  const added = await Promise.all([...named, ...unnamed].map((part) => pciPlace(qmp, part, options)));
  // Bus 0 alone: a bridge has no other bus number before the guest, or the state loaded, gives it one, and query-pci
  // lists nothing below it until then (QEMU 10.0 and 11.1).
  const pci = buses
    .flatMap(({ bus, devices }) => (bus === 0 ? devices : []))
    .map(({ slot, function: number, id }) => `${slot}.${number} ${id.vendor.toString(16)}:${id.device.toString(16)}`);
  const parts = [...unattached, ...named, ...unnamed].map((part) => part.type);
  return {
    type: String(type),
    cpus: String(cpus.length),
    pci: [...pci, ...added.flat()].sort().join("\n"),
    parts: parts.sort().join("\n"),
  };
}

interface Part {
  readonly path: string;
  /** Such as "child<virtio-rng-pci>". */
  readonly type: string;
}

async function listParts(qmp: Qmp, folder: string, options: WaitOptions): Promise<readonly Part[]> {
  const properties = await qmp.execute("qom-list", { path: folder }, options);
  return properties.flatMap(({ name, type }) =>
    type.startsWith("child<") ? [{ path: `${folder}/${name}`, type }] : [],
  );
}

/** A PCI device that was added to the machine: where it is, whatever number its bus has. Nothing for any other device. */
async function pciPlace(qmp: Qmp, { path, type }: Part, options: WaitOptions): Promise<string[]> {
  const properties = new Set((await qmp.execute("qom-list", { path }, options)).map(({ name }) => name));
  if (!properties.has("addr") || !properties.has("parent_bus")) return [];
  const [address, bus] = await Promise.all(
    ["addr", "parent_bus"].map((property) => qmp.execute("qom-get", { path, property }, options)),
  );
  // Such as 40 for 05.0, on "/machine/peripheral/rp1/rp1".
  const place = typeof address === "number" ? `${address >> 3}.${address & 7}` : String(address);
  return [`${place} ${type.slice("child<".length, -1)} on ${String(bus).split("/").at(-1)}`];
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
