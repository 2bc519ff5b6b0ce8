// "get_pci_config_device: Bad config data": which register differs, and what sets it (QEMU 10.0 hw/pci/pci.c).

import { walkFields } from "../fields.ts";
import type { Section } from "../model.ts";
import { configBytes } from "../pci/bytes.ts";
import { isData, pciRegisterAt } from "../pci/registers.ts";
import type { Cause } from "./cause.ts";

/** A byte of a device's configuration that differs. */
export interface BadByte {
  /** Offset in the configuration, in bytes. */
  readonly at: number;
  /** What the stream has. */
  readonly saved: number;
  /** What the new device has. */
  readonly own: number;
}

/** What differs, in words. `section`: the device in the stream, if that is at hand. */
export function explainConfig(bad: BadByte, device: string | undefined, section: Section | undefined): Cause {
  const { at, saved, own } = bad;
  const register = registerAt(at, section) ?? (isVirtio(device) ? virtioRegister(at) : undefined);
  const place = `byte 0x${at.toString(16)} of its PCI configuration`;
  const values = `the stream has 0x${hex(saved)}, this device 0x${hex(own)}`;
  if (register === undefined) {
    return {
      what: `${place} differs: ${values}`,
      why: "the byte is in a capability, behind the header; which one it is, the stream shows (`cprkit explain STREAM`)",
      remedy:
        "give the device the same properties on both sides, and look for those that add a capability or change one (vectors, hotplug, speed, width)",
    };
  }
  const { name, capability } = register;
  const full = capability === undefined ? name : `${capability} ${name}`;
  const { why, remedy } = reasonFor(name, capability, bad, device);
  return { what: `${place}, ${full}, differs: ${values}`, why, remedy };
}

interface Named {
  readonly name: string;
  /** Undefined for a register of the header. */
  readonly capability: string | undefined;
}

/** The register by the stream's own list of capabilities; without a stream those of every header. */
function registerAt(at: number, section: Section | undefined): Named | undefined {
  const config = section === undefined ? undefined : configOf(section);
  const register = (config && pciRegisterAt(at, config)) ?? pciRegisterAt(at);
  if (register === undefined || isData(register)) return undefined;
  return { name: register.name, capability: register.capability?.name };
}

function configOf({ fields }: Section): Uint8Array | undefined {
  for (const { field } of walkFields(fields)) if (field.type === "pci config") return configBytes(field);
  return undefined;
}

function isVirtio(device: string | undefined): boolean {
  return device !== undefined && /(?:^|\/)(?:virtio|vhost)-/.test(device);
}

/** virtio-pci's MSI-X comes last of its capabilities, at 0x98 (QEMU 10.0 hw/virtio/virtio-pci.c). */
function virtioRegister(at: number): Named | undefined {
  if (at === 0x9a || at === 0x9b) return { name: "control", capability: "msix" };
  return undefined;
}

interface Reason {
  readonly why: string;
  readonly remedy: string;
}

function reasonFor(name: string, capability: string | undefined, bad: BadByte, device: string | undefined): Reason {
  const word = capability === undefined ? name : `${capability}/${name}`;
  if (word === "msix/control") {
    const [from, to] = [bad.saved + 1, bad.own + 1];
    return {
      why: `the table of MSI-X has ${from} vector${from === 1 ? "" : "s"} in the stream and ${to} here`,
      remedy: isVirtio(device)
        ? `set vectors=${from} on the device (it follows num-queues and mq where it is not set), as the source had it`
        : `give the device ${from} MSI-X vectors, as the source had (vectors, msix_qsize, msix or num_queues, by its type)`,
    };
  }
  const row = reasons.find(([pattern]) => pattern.test(word));
  if (row !== undefined) {
    const [, why, remedy, virtioRemedy] = row;
    return { why, remedy: isVirtio(device) ? (virtioRemedy ?? remedy) : remedy };
  }
  return {
    why: "QEMU compares what the guest cannot write: the two devices are not built alike",
    remedy: "start the destination with the source's properties of this device, and its machine type",
  };
}

const modern =
  "set disable-legacy and disable-modern as the source had them (their defaults follow the machine type, and whether the device is on a PCI Express port)";

const reasons: readonly (readonly [RegExp, string, string, string?])[] = [
  [
    /^(?:vendor_id|device_id)$/,
    "the ids name the model: at this address is another device, or the same virtio device in another mode (transitional or modern)",
    "put the same model of device at this address (addr=, bus=), with the same properties",
    `${modern}; and see that it is the same device`,
  ],
  [
    /^revision$/,
    "the revision is the model's, or follows the machine type",
    "use the source's machine type and device",
    modern,
  ],
  [
    /^(?:class|programming_interface)$/,
    "the class tells the kind of device: another one is at this address, or a property made it another",
    "put the same model of device at this address (addr=, bus=), with the same properties",
  ],
  [
    /^header_type$/,
    "one of the two is a multi-function device, or a bridge",
    "set multifunction= as the source had it, and put functions at the same addresses",
  ],
  [
    /^bar\d$/,
    "the size of a memory window differs: what the guest can't write is what the size leaves",
    "give the device the source's sizes (such as vgamem_mb, the size of a shared memory, the number of queues or vectors)",
  ],
  [
    /^subsystem/,
    "the subsystem ids are set by a property, or follow the machine type",
    "set the ids as the source had them (subsys, subsys_ven, or x-pci-subsystem…, by the device), and use its machine type",
  ],
  [
    /^rom$/,
    "the expansion ROM has another size, or is off on one side",
    "set romfile, romsize and rombar as the source had them; the files need the same size, rounded up to a power of two",
  ],
  [
    /^capabilities$/,
    "the list of capabilities begins elsewhere: one of the two devices has a capability that the other lacks (often MSI-X)",
    "see that both have the same properties: vectors=0 and msix=off take MSI-X away, a PCI Express port adds capabilities",
    "see that vectors= is 0 on both sides or on none, that disable-legacy and disable-modern are equal, and that both are on the same kind of bus",
  ],
  [
    /^interrupt_pin$/,
    "one of the two has no interrupt pin, or another one",
    "use the same model of device, and its properties",
  ],
  [
    /^status$/,
    "a feature of the whole device differs, such as whether it has capabilities",
    "use the same model of device, with its properties",
  ],
  [
    /^(?:pcie|exp)\w*\/slot/,
    "what the port offers for hot-plugging differs",
    "set hotplug=, slot=, chassis= and power_controller_present= of the port as the source had them; their defaults follow the machine type",
  ],
  [
    /^(?:pcie|exp)\w*\/link/,
    "speed or width of the PCI Express link differ",
    "set x-speed and x-width of the port as the source had them, and use its machine type",
  ],
  [
    /^(?:pcie|exp)\w*\//,
    "a register of the PCI Express capability differs",
    "put the device on the same kind of port, with the source's machine type and properties (x-pcie-…, ats, aer)",
  ],
  [
    /^pm\//,
    "power management differs, which follows the machine type",
    "use the source's machine type (x-pcie-pm-init for virtio)",
  ],
  [/^msi\//, "the MSI capability differs", "set msi= and its vectors as the source had them"],
  [
    /^msix\//,
    "the table of MSI-X is elsewhere, or in another window",
    "give the device the source's number of vectors and queues, and its machine type",
  ],
  [
    /^(?:virtio|vendor)\w*\//,
    "what the device tells of its virtio registers differs",
    `${modern}; modern-pio-notify and page-per-vq change them, too`,
  ],
  [
    /\/next$/,
    "the next capability is elsewhere: one of the two devices has a capability that the other lacks",
    "see that both have the same properties: those for MSI-X, hot-plugging, PCI Express",
  ],
];

function hex(value: number): string {
  return value.toString(16).padStart(2, "0");
}
