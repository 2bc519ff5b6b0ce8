// PCI's capabilities and their registers (PCI Local Bus 3.0, PCI Express Base 4.0), with the bits that QEMU compares when
// it loads a device's configuration: what the guest cannot write (QEMU 10.0 hw/pci/pci.c, msi.c, msix.c, pcie.c,
// hw/virtio/virtio-pci.c).

/** A register of a capability: offset and size in bytes from the capability's first byte. */
export interface CapabilityRegister {
  readonly at: number;
  readonly size: number;
  readonly name: string;
  /** Bits that QEMU compares, for the register as a little-endian number. Default: all. */
  readonly compared?: number;
}

/** A kind of capability. */
export interface CapabilityKind {
  /** Short, without spaces: part of a field's name. */
  readonly name: string;
  /** Bytes that it takes, from its first byte in `config`. */
  size(config: Uint8Array, at: number): number;
  readonly registers: readonly CapabilityRegister[];
}

type Row = readonly [at: number, size: number, name: string, compared?: number];

function kind(
  name: string,
  size: number | ((config: Uint8Array, at: number) => number),
  rows: readonly Row[],
): CapabilityKind {
  return {
    name,
    size: typeof size === "number" ? () => size : size,
    registers: rows.map(([at, bytes, register, compared]) => ({
      at,
      size: bytes,
      name: register,
      ...(compared === undefined ? {} : { compared }),
    })),
  };
}

const none = 0;

/** The kinds by their id in the list that begins at 0x34. */
export const capabilityKinds: ReadonlyMap<number, CapabilityKind> = new Map([
  // State, enable of PME, data select, status of PME: writable. "No soft reset" (bit 3) is not.
  [
    0x01,
    kind("pm", 8, [
      [2, 2, "pmc"],
      [4, 2, "control", 0x60fc],
      [6, 1, "bridge", none],
      [7, 1, "data", none],
    ]),
  ],
  [
    0x03,
    kind("vpd", 8, [
      [2, 2, "address", none],
      [4, 4, "data", none],
    ]),
  ],
  [
    0x04,
    kind("slot_id", 4, [
      [2, 1, "slot"],
      // QEMU excludes it, for it may differ between hosts.
      [3, 1, "chassis", none],
    ]),
  ],
  // The registers after "control" depend on it: address of 64 bits, mask per vector.
  [0x05, kind("msi", msiSize, [[2, 2, "control", 0xff8e]])],
  [0x09, kind("vendor", (config, at) => Math.max(3, config[at + 2] ?? 3), [[2, 1, "length"]])],
  [
    0x0c,
    kind("shpc", 8, [
      [2, 1, "select", none],
      [3, 1, "pending", none],
      [4, 4, "data", none],
    ]),
  ],
  [
    0x0d,
    kind("ssvid", 8, [
      [2, 2, "reserved"],
      [4, 2, "subsystem_vendor_id"],
      [6, 2, "subsystem_id"],
    ]),
  ],
  [
    0x10,
    kind("express", (config, at) => (((config[at + 2] ?? 0) & 15) >= 2 ? 0x3c : 0x14), [
      [2, 2, "flags"],
      [4, 4, "device_capabilities"],
      [8, 2, "device_control", none],
      [10, 2, "device_status", none],
      [12, 4, "link_capabilities"],
      [16, 2, "link_control", none],
      [18, 2, "link_status", none],
      [20, 4, "slot_capabilities"],
      [24, 2, "slot_control", none],
      // Whether a device is in the slot (bit 6) is not writable.
      [26, 2, "slot_status", 0x0040],
      [28, 2, "root_control", none],
      [30, 2, "root_capabilities"],
      [32, 4, "root_status", none],
      [36, 4, "device_capabilities_2"],
      [40, 2, "device_control_2", none],
      [42, 2, "device_status_2", none],
      [44, 4, "link_capabilities_2"],
      [48, 2, "link_control_2", 0x000f],
      [50, 2, "link_status_2", none],
      [52, 4, "slot_capabilities_2"],
      [56, 2, "slot_control_2", none],
      [58, 2, "slot_status_2", none],
    ]),
  ],
  [
    0x11,
    kind("msix", 12, [
      [2, 2, "control", 0x3fff],
      [4, 4, "table"],
      [8, 4, "pending"],
    ]),
  ],
  [
    0x12,
    kind("sata", 8, [
      [2, 2, "revision"],
      [4, 4, "location"],
    ]),
  ],
  [
    0x13,
    kind("af", 6, [
      [2, 1, "length"],
      [3, 1, "capabilities"],
      [4, 1, "control", none],
      [5, 1, "status", none],
    ]),
  ],
]);

/** The kinds by their id in the list that begins at 0x100 (PCI Express). */
export const extendedKinds: ReadonlyMap<number, CapabilityKind> = new Map([
  [
    0x0001,
    kind("aer", 0x48, [
      [4, 4, "uncorrectable_status", none],
      [8, 4, "uncorrectable_mask", none],
      [12, 4, "uncorrectable_severity", none],
      [16, 4, "correctable_status", none],
      [20, 4, "correctable_mask", none],
      [24, 4, "control", none],
      [28, 16, "header_log", none],
      [44, 4, "root_command", none],
      [48, 4, "root_status", none],
      [52, 4, "error_source", none],
    ]),
  ],
  [0x0003, kind("serial", 12, [[4, 8, "number"]])],
  [
    0x000d,
    kind("acs", 8, [
      [4, 2, "capabilities"],
      [6, 2, "control", none],
    ]),
  ],
  [
    0x000e,
    kind("ari", 8, [
      [4, 2, "capabilities"],
      [6, 2, "control", none],
    ]),
  ],
  [
    0x000f,
    kind("ats", 8, [
      [4, 2, "capabilities"],
      [6, 2, "control", none],
    ]),
  ],
  [
    0x0010,
    kind("sriov", 0x40, [
      [4, 4, "capabilities"],
      [8, 2, "control", none],
      [10, 2, "status", none],
      [12, 2, "initial_vfs"],
      [14, 2, "total_vfs"],
      [16, 2, "vfs", none],
      [18, 2, "dependency"],
      [20, 2, "first_vf"],
      [22, 2, "stride"],
      [26, 2, "vf_device_id"],
      [28, 4, "page_sizes"],
      [32, 4, "page_size", none],
      [36, 24, "vf_bars", none],
    ]),
  ],
  [
    0x0013,
    kind("pri", 16, [
      [4, 2, "control", none],
      [6, 2, "status", none],
      [8, 4, "capacity"],
      [12, 4, "limit", none],
    ]),
  ],
  [0x0018, kind("ltr", 8, [])],
  [
    0x001b,
    kind("pasid", 8, [
      [4, 2, "capabilities"],
      [6, 2, "control", none],
    ]),
  ],
  [
    0x0023,
    kind("dvsec", (config, at) => Math.max(10, ((config[at + 6] ?? 0) >> 4) | ((config[at + 7] ?? 0) << 4)), [
      [4, 4, "vendor"],
    ]),
  ],
]);

/** A capability that the tables do not have. Only its place in the list is surely compared. */
export const unknownCapability: CapabilityKind = kind("capability", 2, []);

/** As {@link unknownCapability}, in the list of PCI Express. */
export const unknownExtended: CapabilityKind = kind("extended", 4, []);

/** Registers of a capability in this configuration: those of its kind, and those that depend on what is in it. */
export function registersOf(kindOf: CapabilityKind, config: Uint8Array, at: number): readonly CapabilityRegister[] {
  if (kindOf.name === "msi") return [...kindOf.registers, ...msiRegisters(config, at)];
  if (kindOf.name === "vendor" && isVirtio(config)) return [...kindOf.registers, ...virtioRegisters(config, at)];
  return kindOf.registers.filter((register) => register.at + register.size <= kindOf.size(config, at));
}

/** What a vendor's capability of a virtio device is for: "common", "notify", "isr", "device", "access", "memory". */
export function virtioCapability(config: Uint8Array, at: number): string | undefined {
  return isVirtio(config) ? virtioKinds[config[at + 3] ?? 0] : undefined;
}

/** Of VIRTIO_PCI_CAP_COMMON_CFG and on (virtio 1.3, 4.1.4). */
const virtioKinds = [undefined, "common", "notify", "isr", "device", "access", undefined, undefined, "memory"];

function isVirtio(config: Uint8Array): boolean {
  return config[0] === 0xf4 && config[1] === 0x1a;
}

function msiSize(config: Uint8Array, at: number): number {
  const control = config[at + 2] ?? 0;
  const wide = (control & 0x80) !== 0;
  const masks = ((config[at + 3] ?? 0) & 1) !== 0;
  return 10 + (wide ? 4 : 0) + (masks ? 10 : 0);
}

function msiRegisters(config: Uint8Array, at: number): CapabilityRegister[] {
  const wide = ((config[at + 2] ?? 0) & 0x80) !== 0;
  const masks = ((config[at + 3] ?? 0) & 1) !== 0;
  const data = wide ? 12 : 8;
  const writable = (where: number, size: number, name: string) => ({ at: where, size, name, compared: none });
  return [
    writable(4, 4, "address"),
    ...(wide ? [writable(8, 4, "address_high")] : []),
    writable(data, 2, "data"),
    ...(masks ? [writable(data + 4, 4, "mask"), writable(data + 8, 4, "pending")] : []),
  ];
}

function virtioRegisters(config: Uint8Array, at: number): CapabilityRegister[] {
  const access = virtioCapability(config, at) === "access";
  const writable = access ? { compared: none } : {};
  const length = config[at + 2] ?? 0;
  const rest: CapabilityRegister[] = [
    { at: 3, size: 1, name: "type" },
    { at: 4, size: 1, name: "bar", ...writable },
    { at: 5, size: 3, name: "padding" },
    { at: 8, size: 4, name: "offset", ...writable },
    { at: 12, size: 4, name: "bytes", ...writable },
    { at: 16, size: 4, name: access ? "data" : "multiplier", ...writable },
  ];
  return rest.filter((register) => register.at + register.size <= length);
}
