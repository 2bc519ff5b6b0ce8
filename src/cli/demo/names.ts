// Names and ids as a QEMU with many passed-through devices registers them: VFIO by groups, with KVM, as seen of QEMU 11.1.
// (With iommufd there would be "iommufd0", and no groups.)

/** The key of an fd. */
export interface FdKey {
  readonly name: string;
  readonly id: number;
}

const ramBlocks = [
  "pc.ram",
  "pc.bios",
  "pc.rom",
  "/rom@etc/acpi/tables",
  "/rom@etc/table-loader",
  "/rom@etc/acpi/rsdp",
  "0000:00:02.0/vga.vram",
];
/** Interrupt vectors of common devices: NVMe queues, network queues, a GPU. */
const vectorCounts = [129, 64, 33, 9];

/** The first `count` keys of such a QEMU, in the order of registration: always the same, no key twice. */
export function realisticKeys(count: number): FdKey[] {
  const keys: FdKey[] = ramBlocks.map((name) => ({ name, id: 0 }));
  for (let device = 0; keys.length < count; device++) keys.push(...deviceKeys(device));
  return keys.slice(0, count);
}

function deviceKeys(device: number): FdKey[] {
  const bus = (device >> 5) & 0xff;
  const domain = device >> 13;
  const name = `${hex(domain, 4)}:${hex(bus, 2)}:${hex(device & 0x1f, 2)}.0`;
  const vectors = vectorCounts[device % vectorCounts.length] as number;
  const keys: FdKey[] = [
    { name: "vfio_group", id: 100 + device * 3 },
    { name: "vfio_container_for_group", id: 100 + device * 3 },
    { name, id: 0 },
    // Of a device that has been updated before with a wired interrupt.
    ...(vectors === 9 ? ["intx-interrupt", "intx-unmask"].map((kind) => ({ name: `${name}_${kind}`, id: 0 })) : []),
    { name: `${name}_err_notifier`, id: 0 },
    { name: `${name}_req_notifier`, id: 0 },
  ];
  for (let vector = 0; vector < vectors; vector++) {
    keys.push({ name: `${name}_interrupt`, id: vector }, { name: `${name}_kvm_interrupt`, id: vector });
  }
  return keys;
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, "0");
}
