// PCI configuration space by register and capability, and which of its bits QEMU compares when it loads a device
// (QEMU 10.0 hw/pci/pci.c, get_pci_config_device: "Bad config data: i=0x…").

import {
  type CapabilityKind,
  capabilityKinds,
  extendedKinds,
  registersOf,
  unknownCapability,
  unknownExtended,
  virtioCapability,
} from "./capabilities.ts";

/** A register, or a range of bytes that only the device knows. */
export interface PciRegister {
  /** Such as "vendor_id", "bar0" or "control"; "data" for bytes that no table has. */
  readonly name: string;
  /** From the configuration's first byte, in bytes. */
  readonly offset: number;
  /** In bytes. */
  readonly size: number;
  /** The capability that it is in; undefined for the header, and for what is in none. */
  readonly capability: PciCapability | undefined;
  /**
   * Bits that QEMU compares with the device's own, for the register as a little-endian number: all that the guest cannot
   * write. Of a base address, the bits below its size are compared, too, which the configuration does not tell.
   */
  readonly compared: bigint;
}

/** A capability as it is in one configuration. */
export interface PciCapability {
  /** Such as "msix", "virtio_common", "vendor", "capability_05" for an id that the tables do not have. */
  readonly name: string;
  readonly id: number;
  /** In the list of PCI Express, from 0x100 on. */
  readonly extended: boolean;
  readonly offset: number;
  readonly size: number;
}

/** Bytes of a device without PCI Express. */
const pciConfigSize = 256;

/**
 * Every register of a configuration of 256 or 4,096 bytes, in order and without gaps: the header by its type, the
 * capabilities as they are linked, and between them "data". Does not throw: a list that runs in circles or out of the
 * space ends where it does.
 */
export function pciRegisters(config: Uint8Array): PciRegister[] {
  const header = headerOf(config).map(([offset, size, name, compared]) => register(name, offset, size, compared));
  const found = [
    ...header,
    ...pciCapabilities(config).flatMap((capability) => capabilityRegisters(config, capability)),
  ];
  found.sort((a, b) => a.offset - b.offset);
  const all: PciRegister[] = [];
  let at = 0;
  for (const one of found) {
    // Capabilities may overlap in a damaged configuration: the first one has the bytes.
    if (one.offset < at || one.offset + one.size > config.length) continue;
    if (one.offset > at) all.push(register("data", at, one.offset - at, none));
    all.push(one);
    at = one.offset + one.size;
  }
  if (at < config.length) all.push(register("data", at, config.length - at, none));
  return all;
}

/**
 * The register that has the byte at `offset`: of this configuration or, without one, of the header of a device that is not a
 * bridge. Undefined beyond the space, and without a configuration from 0x40 on, where a device's capabilities are.
 */
export function pciRegisterAt(offset: number, config?: Uint8Array): PciRegister | undefined {
  const registers =
    config === undefined
      ? headerOf(new Uint8Array(64)).map(([at, size, name, compared]) => register(name, at, size, compared))
      : pciRegisters(config);
  return registers.find((one) => offset >= one.offset && offset < one.offset + one.size);
}

/** Whether only the device knows what these bytes are. */
export function isData({ name, capability, size }: PciRegister): boolean {
  return name === "data" && (capability === undefined || size > 4);
}

/** The name of a register with its capability: "msix/control", "bar0". */
export function pciRegisterName({ name, capability }: PciRegister): string {
  return capability === undefined ? name : `${capability.name}/${name}`;
}

/** Both lists of capabilities, in the order of their links. */
export function pciCapabilities(config: Uint8Array): PciCapability[] {
  const found: PciCapability[] = [];
  const seen = new Set<number>();
  const names = new Map<string, number>();
  const add = (kind: CapabilityKind, id: number, offset: number, extended: boolean, fallback: string) => {
    const isKnown = kind !== unknownCapability && kind !== unknownExtended;
    const virtio = kind.name === "vendor" ? virtioCapability(config, offset) : undefined;
    const plain = virtio !== undefined ? `virtio_${virtio}` : isKnown ? kind.name : fallback;
    const times = names.get(plain) ?? 0;
    names.set(plain, times + 1);
    const size = Math.min(kind.size(config, offset), (extended ? config.length : pciConfigSize) - offset);
    found.push({ name: times === 0 ? plain : `${plain}_${times + 1}`, id, extended, offset, size });
  };
  const hasList = ((config[6] ?? 0) & 0x10) !== 0;
  for (let at = hasList ? (config[0x34] ?? 0) : 0; at >= 0x40 && at < 0xff && !seen.has(at); at = config[at + 1] ?? 0) {
    seen.add(at);
    const id = config[at] ?? 0;
    add(capabilityKinds.get(id) ?? unknownCapability, id, at, false, `capability_${hex(id, 2)}`);
  }
  for (let at = 0x100; at >= 0x100 && at + 4 <= config.length && !seen.has(at); ) {
    seen.add(at);
    const head = Number(littleEndian(config, at, 4));
    const id = head & 0xffff;
    // All zero: there is none.
    if (head === 0) break;
    add(extendedKinds.get(id) ?? unknownExtended, id, at, true, `extended_${hex(id, 4)}`);
    at = head >>> 20;
  }
  return found;
}

/** The bytes from `offset` on as a number, the lowest first, as PCI has it. */
export function littleEndian(config: Uint8Array, offset: number, size: number): bigint {
  let value = 0n;
  for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(config[offset + i] ?? 0);
  return value;
}

function hex(id: number, digits: number): string {
  return id.toString(16).padStart(digits, "0");
}

const none = 0n;

function register(
  name: string,
  offset: number,
  size: number,
  compared: bigint | undefined,
  capability?: PciCapability,
): PciRegister {
  return { name, offset, size, capability, compared: compared ?? (1n << BigInt(size * 8)) - 1n };
}

function capabilityRegisters(config: Uint8Array, capability: PciCapability): PciRegister[] {
  const { id, offset, size, extended } = capability;
  const kind = extended ? (extendedKinds.get(id) ?? unknownExtended) : (capabilityKinds.get(id) ?? unknownCapability);
  const head = extended
    ? [register("header", offset, 4, undefined, capability)]
    : [register("id", offset, 1, undefined, capability), register("next", offset + 1, 1, undefined, capability)];
  const rest = registersOf(kind, config, offset)
    .filter(({ at, size: bytes }) => at + bytes <= size)
    .map(({ at, size: bytes, name, compared }) =>
      register(name, offset + at, bytes, compared === undefined ? undefined : BigInt(compared), capability),
    );
  // Bytes inside the capability that no table has: a vendor's own.
  const end = rest.at(-1) ?? head.at(-1);
  const from = end === undefined ? offset : end.offset + end.size;
  const own = kind.name === "vendor" && from < offset + size;
  return [...head, ...rest, ...(own ? [register("data", from, offset + size - from, undefined, capability)] : [])];
}

type Row = readonly [offset: number, size: number, name: string, compared?: bigint];

const start: readonly Row[] = [
  [0x00, 2, "vendor_id"],
  [0x02, 2, "device_id"],
  [0x04, 2, "command", none],
  [0x06, 2, "status", 0x10n],
  [0x08, 1, "revision"],
  [0x09, 1, "programming_interface"],
  [0x0a, 2, "class"],
  [0x0c, 1, "cache_line_size", none],
  [0x0d, 1, "latency_timer", none],
  [0x0e, 1, "header_type"],
  [0x0f, 1, "bist", none],
];

const end: readonly Row[] = [
  [0x34, 1, "capabilities"],
  [0x35, 3, "reserved", none],
];

/** Header of a device. QEMU does not compare the subsystem's ids, nor the interrupt's pin. */
const device: readonly Row[] = [
  ...start,
  ...barRows(6),
  [0x28, 4, "cardbus", none],
  [0x2c, 2, "subsystem_vendor_id", none],
  [0x2e, 2, "subsystem_id", none],
  [0x30, 4, "rom", 0n],
  ...end,
  [0x38, 4, "reserved_2", none],
  [0x3c, 1, "interrupt_line", none],
  [0x3d, 1, "interrupt_pin", none],
  [0x3e, 1, "minimum_grant", none],
  [0x3f, 1, "maximum_latency", none],
];

const bridge: readonly Row[] = [
  ...start,
  ...barRows(2),
  [0x18, 1, "primary_bus", none],
  [0x19, 1, "secondary_bus", none],
  [0x1a, 1, "subordinate_bus", none],
  [0x1b, 1, "secondary_latency_timer", none],
  [0x1c, 1, "io_base", 0x0fn],
  [0x1d, 1, "io_limit", 0x0fn],
  [0x1e, 2, "secondary_status", none],
  [0x20, 2, "memory_base", none],
  [0x22, 2, "memory_limit", none],
  [0x24, 2, "prefetchable_base", 0x0fn],
  [0x26, 2, "prefetchable_limit", 0x0fn],
  [0x28, 4, "prefetchable_base_high", none],
  [0x2c, 4, "prefetchable_limit_high", none],
  [0x30, 2, "io_base_high", none],
  [0x32, 2, "io_limit_high", none],
  ...end,
  [0x38, 4, "rom", none],
  [0x3c, 1, "interrupt_line", none],
  [0x3d, 1, "interrupt_pin", none],
  [0x3e, 2, "bridge_control", none],
];

// The lowest bits tell the kind of address: only those of a base address that the device has are compared.
function barRows(count: number): Row[] {
  return Array.from({ length: count }, (_, i) => [0x10 + 4 * i, 4, `bar${i}`, 0xfn] as const);
}

function headerOf(config: Uint8Array): readonly Row[] {
  return ((config[0x0e] ?? 0) & 0x7f) === 1 ? bridge : device;
}
