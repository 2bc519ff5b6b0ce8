// PCI configurations as QEMU compares them when it loads a device: what the guest cannot write must be the same
// (QEMU 10.0 hw/pci/pci.c, get_pci_config_device).

import type { FieldNode } from "../model.ts";
import { configBytes } from "../pci/bytes.ts";
import { littleEndian, type PciRegister, pciRegisterName, pciRegisters } from "../pci/registers.ts";
import { type CheckContext, note } from "./body.ts";
import { finding } from "./findings.ts";

/** Notes each register that the destination refuses. Of a capability that only one side has, its first one. */
export function checkPciConfig(context: CheckContext, path: string, source: FieldNode, destination: FieldNode): void {
  const [ours, theirs] = [configBytes(source), configBytes(destination)];
  if (ours === undefined || theirs === undefined || ours.length !== theirs.length) return;
  let skipped: number | undefined;
  for (const register of pciRegisters(theirs)) {
    const { name, offset, size, capability } = register;
    if (capability !== undefined && capability.offset === skipped) continue;
    const mask = comparedBits(register, theirs);
    const [a, b] = [littleEndian(ours, offset, size), littleEndian(theirs, offset, size)];
    if (((a ^ b) & mask) === 0n) continue;
    // Another capability here: all of it differs.
    if (name === "id" || name === "header") skipped = capability?.offset;
    const place = `${path}/${pciRegisterName(register)}`;
    const at = `0x${offset.toString(16)}`;
    note(context, place, finding.pciConfigDiffers(`byte ${at}`, hex(a, size), hex(b, size), hintFor(register)));
  }
}

/** Bits that the destination compares, as far as its own configuration shows. */
function comparedBits({ name, offset, compared }: PciRegister, theirs: Uint8Array): bigint {
  if (!/^bar\d$/.test(name)) return compared;
  const value = littleEndian(theirs, offset, 4);
  // A device without this base address compares nothing; one that has no address yet may look the same.
  if (value === 0n) return 0n;
  // The upper half of an address of 64 bits is writable.
  const before = littleEndian(theirs, offset - 4, 4);
  if (offset > 0x10 && (before & 7n) === 4n) return 0n;
  return (value & 1n) === 1n ? 3n : 0xfn;
}

function hex(value: bigint, size: number): string {
  return `0x${value.toString(16).padStart(size * 2, "0")}`;
}

/** Properties of QEMU's devices that set what is in a register. */
const hints: Readonly<Record<string, string>> = {
  vendor_id: "another device",
  device_id: "another device, or disable-legacy, disable-modern of a virtio device",
  class: "another device",
  header_type: "multifunction",
  "msix/control": "the number of vectors: vectors, and what it follows from, such as num-queues",
  "express/slot_capabilities": "slot, hotplug, power_controller_present",
  "express/link_capabilities": "x-speed, x-width",
  capabilities: "other capabilities, or in another order",
  status: "capabilities at all",
};

function hintFor(register: PciRegister): string {
  const hint = hints[pciRegisterName(register)];
  return hint === undefined ? "" : ` (${hint})`;
}
