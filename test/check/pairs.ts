// Pairs of machines: what the first saves is loaded into the second. Each row changes one thing.

import { sweep } from "./sweep.ts";

/** A machine, as it is started. */
export interface Machine {
  readonly qemu: string;
  readonly args: readonly string[];
  /** A driver accepts all features of the virtio devices before the machine is saved. */
  readonly negotiate: boolean;
}

export interface Pair {
  readonly kind: string;
  readonly name: string;
  readonly source: Machine;
  readonly destination: Machine;
  /** The stream is changed before it is loaded. */
  readonly edit?: "runstate";
}

const newest = "11.1";

export function machine(qemu: string, type: string, words: string, negotiate = false): Machine {
  const memory = /(^| )-m /.test(words) ? [] : ["-m", "64"];
  const args = ["-M", type, ...memory, ...words.split(" ").filter((word) => word !== "")];
  return { qemu, args, negotiate };
}

const disk = "-drive if=none,id=d0,driver=null-co,size=1M,read-zeroes=on";
const disk2 = "-drive if=none,id=d1,driver=null-co,size=1M,read-zeroes=on";

/** Many devices, as they are by default. */
export const rich = [
  disk,
  disk2,
  "-device virtio-blk-pci,drive=d0",
  "-device virtio-net-pci,romfile=,mac=52:54:00:12:34:56",
  "-device virtio-scsi-pci,id=s0 -device scsi-hd,drive=d1,bus=s0.0",
  "-device virtio-rng-pci -device virtio-balloon-pci",
  "-device virtio-serial-pci",
  "-device e1000,romfile=,mac=52:54:00:12:34:57",
  "-device qemu-xhci,id=usb -device usb-tablet,bus=usb.0",
  "-device VGA -device intel-hda -device hda-output,audiodev=a0 -audiodev none,id=a0",
].join(" ");

/** Version pairs: of one machine type, what each QEMU saves is loaded by each other. */
function versions(kind: string, type: string, qemus: readonly string[], words: string): Pair[] {
  return qemus.flatMap((from) =>
    qemus
      .filter((to) => to !== from)
      .map((to) => ({
        kind,
        name: `${type}, ${from} to ${to}`,
        source: machine(from, type, words),
        destination: machine(to, type, words),
      })),
  );
}

/** Rows of a kind: name, words of the source, words of the destination. */
function rows(
  kind: string,
  list: readonly (readonly [name: string, from: string, to: string])[],
  type = "pc-q35-10.0",
  qemu = newest,
  negotiate = false,
): Pair[] {
  return list.map(([name, from, to]) => ({
    kind,
    name,
    source: machine(qemu, type, from, negotiate),
    destination: machine(qemu, type, to, negotiate),
  }));
}

/** One device whose properties change. `each` has them: name, from, to. */
function device(
  kind: string,
  name: string,
  each: readonly (readonly [from: string, to: string])[],
  before = "",
  negotiate = false,
): Pair[] {
  const words = (properties: string) => `${before} -device ${name}${properties === "" ? "" : `,${properties}`}`;
  return rows(
    kind,
    each.map(([from, to]) => [`${name} ${from || "as it is"} to ${to || "as it is"}`, words(from), words(to)]),
    undefined,
    undefined,
    negotiate,
  );
}

function nameOf(words: string): string {
  return /-device ([^ ,]+)/.exec(words)?.[1] ?? words;
}

const all = ["7.2", "10.0", "11.1"];
const two = ["10.0", "11.1"];

export const pairs: readonly Pair[] = [
  ...versions("versions", "pc-q35-7.2", all, ""),
  ...versions("versions", "pc-i440fx-7.2", all, ""),
  ...versions("versions", "pc-q35-10.0", two, ""),
  ...versions("versions", "pc-i440fx-10.0", two, ""),
  ...versions("versions, many devices", "pc-q35-7.2", all, rich),
  ...versions("versions, many devices", "pc-i440fx-7.2", all, rich),
  ...versions("versions, many devices", "pc-q35-10.0", two, rich),
  ...versions("versions, many devices", "pc-i440fx-10.0", two, rich),
  ...versions(
    "versions, many devices",
    "pc-q35-7.2",
    all,
    `${rich} -device e1000e,romfile= -device ich9-usb-ehci1`,
  ).map((pair) => ({ ...pair, name: `${pair.name}, e1000e and ehci` })),

  ...[
    ["pc-q35-10.0", "pc-q35-7.2"],
    ["pc-q35-7.2", "pc-q35-10.0"],
    ["pc-i440fx-10.0", "pc-q35-10.0"],
    ["pc-q35-11.0", "pc-q35-11.1"],
  ].map(([from, to]) => ({
    kind: "machine types",
    name: `${from} to ${to}`,
    source: machine(newest, from as string, ""),
    destination: machine(newest, to as string, ""),
  })),

  ...rows("options", [
    ["nothing changed", rich, rich],
    ["HPET off", "", "-machine hpet=off"],
    ["HPET on", "-machine hpet=off", ""],
    ["SMM off", "", "-machine smm=off"],
    ["vmport on", "", "-machine vmport=on"],
    ["i8042 off", "", "-machine i8042=off"],
    ["SATA off", "", "-machine sata=off"],
    ["SMBus off", "", "-machine smbus=off"],
    ["PIT off", "", "-machine pit=off"],
    ["ACPI off", "", "-machine acpi=off"],
    ["one more CPU", "-smp 1,maxcpus=2", "-smp 2,maxcpus=2"],
    ["one CPU less", "-smp 2", "-smp 1"],
    ["more CPUs possible", "-smp 1", "-smp 1,maxcpus=4"],
    ["S3 off", "", "-global ICH9-LPC.disable_s3=1"],
    ["fewer HPET timers", "-global hpet.timers=4", "-global hpet.timers=3"],
    ["a serial port gone", "-device isa-serial", ""],
    ["a serial port more", "", "-device isa-serial"],
    ["a watchdog gone", "-device i6300esb", ""],
    ["pvpanic gone", "-device pvpanic", ""],
    ["another clock", "", "-rtc base=2001-01-01"],
    ["ACPI hot plug off", "", "-global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"],
  ]),
  ...rows(
    "options",
    [
      ["ACPI hot plug off (pc)", "", "-global PIIX4_PM.acpi-pci-hotplug-with-bridge-support=off"],
      ["acpi-index gone (pc)", "-device virtio-rng-pci,acpi-index=7", "-device virtio-rng-pci"],
      ["acpi-index come (pc)", "-device virtio-rng-pci", "-device virtio-rng-pci,acpi-index=7"],
      ["S4 off (pc)", "", "-global PIIX4_PM.disable_s4=1"],
      ["USB on (pc)", "-machine usb=on", ""],
    ],
    "pc-i440fx-10.0",
  ),

  ...rows("UUID", [
    ["the same UUID", "-uuid 550e8400-e29b-41d4-a716-446655440000", "-uuid 550e8400-e29b-41d4-a716-446655440000"],
    ["another UUID", "-uuid 550e8400-e29b-41d4-a716-446655440000", "-uuid 550e8400-e29b-41d4-a716-446655440001"],
  ]),

  ...rows("CPU models", [
    ["qemu64 to max", "-cpu qemu64", "-cpu max"],
    ["max to qemu64", "-cpu max", "-cpu qemu64"],
    ["Skylake to Nehalem", "-cpu Skylake-Client", "-cpu Nehalem"],
    ["Nehalem to Skylake", "-cpu Nehalem", "-cpu Skylake-Client"],
    ["qemu64 to qemu32", "-cpu qemu64", "-cpu qemu32"],
    ["a feature less", "-cpu Skylake-Client", "-cpu Skylake-Client,-xsave"],
  ]),

  ...rows("RAM", [
    ["more RAM", "-m 64", "-m 128"],
    ["less RAM", "-m 128", "-m 64"],
    [
      "another backend",
      "-object memory-backend-ram,id=mem0,size=64M -machine memory-backend=mem0",
      "-object memory-backend-ram,id=mem1,size=64M -machine memory-backend=mem1",
    ],
    ["slots", "-m 64", "-m 64,slots=4,maxmem=1G"],
    ["no slots", "-m 64,slots=4,maxmem=1G", "-m 64"],
    ["fewer slots", "-m 64,slots=4,maxmem=1G", "-m 64,slots=2,maxmem=1G"],
    ["more room", "-m 64,slots=4,maxmem=1G", "-m 64,slots=4,maxmem=2G"],
    [
      "a module gone",
      "-m 64,slots=4,maxmem=1G -object memory-backend-ram,id=dimm,size=128M -device pc-dimm,memdev=dimm",
      "-m 64,slots=4,maxmem=1G",
    ],
  ]),

  ...device(
    "virtio-blk",
    "virtio-blk-pci,drive=d0",
    [
      ["num-queues=1", "num-queues=2"],
      ["num-queues=2", "num-queues=1"],
      ["queue-size=128", "queue-size=256"],
      ["", "disable-legacy=on"],
      ["", "disable-modern=on"],
      ["disable-modern=on", ""],
      ["", "vectors=0"],
      ["vectors=0", ""],
      ["", "addr=8"],
      ["", "serial=other"],
      ["", "logical_block_size=4096,physical_block_size=4096"],
      ["", "share-rw=on"],
      ["", "page-per-vq=on"],
      ["", "rombar=0"],
    ],
    disk,
  ),
  ...device(
    "virtio features",
    "virtio-blk-pci,drive=d0",
    [
      ["", ""],
      ["", "event_idx=off"],
      ["event_idx=off", ""],
      ["", "indirect_desc=off"],
      ["", "config-wce=off"],
      ["", "discard=off"],
      ["discard=off", ""],
      ["packed=on", "packed=off"],
      ["", "packed=on"],
      ["", "queue_reset=off"],
      ["disable-modern=on", "disable-modern=on,event_idx=off"],
    ],
    disk,
    true,
  ),
  ...device(
    "virtio features",
    "virtio-net-pci,romfile=,mac=52:54:00:12:34:56",
    [
      ["", "mrg_rxbuf=off"],
      ["", "ctrl_vq=off"],
      ["", "ctrl_guest_offloads=off"],
      ["ctrl_guest_offloads=off", ""],
      ["host_mtu=1500", ""],
      ["", "host_mtu=1500"],
      ["", "status=off"],
      ["speed=1000", ""],
    ],
    "",
    true,
  ),
  ...device("virtio features", "virtio-scsi-pci", [["", "hotplug=off"]], "", true),
  ...device("virtio features", "virtio-balloon-pci", [["free-page-reporting=on", ""]], "", true),
  ...device("virtio-net", "virtio-net-pci,romfile=", [
    ["mac=52:54:00:12:34:56", "mac=52:54:00:12:34:57"],
    ["", "ctrl_guest_offloads=off"],
    ["", "rx_queue_size=512"],
    ["", "disable-legacy=on"],
    ["", "vectors=8"],
  ]),
  ...device("virtio-scsi", "virtio-scsi-pci", [
    ["num_queues=1", "num_queues=4"],
    ["num_queues=4", "num_queues=1"],
    ["", "max_sectors=1024"],
    ["", "vectors=2"],
  ]),
  ...device("virtio-serial", "virtio-serial-pci", [
    ["", "max_ports=4"],
    ["max_ports=4", ""],
    ["max_ports=31,vectors=2", "max_ports=4,vectors=2"],
  ]),
  ...rows("virtio-serial", [
    [
      "a port gone",
      "-device virtio-serial-pci -device virtserialport,nr=1 -device virtserialport,nr=2",
      "-device virtio-serial-pci -device virtserialport,nr=1",
    ],
    [
      "a port more",
      "-device virtio-serial-pci -device virtserialport,nr=1",
      "-device virtio-serial-pci -device virtserialport,nr=1 -device virtserialport,nr=2",
    ],
    [
      "a port elsewhere",
      "-device virtio-serial-pci -device virtserialport,nr=1",
      "-device virtio-serial-pci -device virtserialport,nr=3",
    ],
  ]),
  ...device("other virtio", "virtio-balloon-pci", [["", "deflate-on-oom=on"]]),
  ...device("other virtio", "virtio-gpu-pci", [
    ["max_outputs=1", "max_outputs=2"],
    ["max_outputs=2", "max_outputs=1"],
    ["", "edid=off"],
  ]),
  ...rows("other virtio", [
    ["a keyboard becomes a mouse", "-device virtio-keyboard-pci", "-device virtio-mouse-pci"],
    ["a tablet becomes a mouse", "-device virtio-tablet-pci", "-device virtio-mouse-pci"],
    ["a random source becomes a balloon", "-device virtio-rng-pci", "-device virtio-balloon-pci"],
    ["an IOMMU with bypass", "-device virtio-iommu-pci", "-device virtio-iommu-pci,boot-bypass=off"],
    [
      "virtio-mem with larger blocks",
      "-m 64,maxmem=1G -object memory-backend-ram,id=vm0,size=128M -device virtio-mem-pci,memdev=vm0,block-size=2M",
      "-m 64,maxmem=1G -object memory-backend-ram,id=vm0,size=128M -device virtio-mem-pci,memdev=vm0,block-size=4M",
    ],
    [
      "virtio-mem of another size",
      "-m 64,maxmem=1G -object memory-backend-ram,id=vm0,size=128M -device virtio-mem-pci,memdev=vm0",
      "-m 64,maxmem=1G -object memory-backend-ram,id=vm0,size=256M -device virtio-mem-pci,memdev=vm0",
    ],
  ]),
  ...rows(
    "other virtio",
    [
      [
        "MMIO: queue size",
        `${disk} -device virtio-blk-device,drive=d0`,
        `${disk} -device virtio-blk-device,drive=d0,queue-size=64`,
      ],
      [
        "MMIO: a serial device with fewer ports",
        "-device virtio-serial-device",
        "-device virtio-serial-device,max_ports=4",
      ],
    ],
    "microvm",
  ),

  // QEMU 11.1 refuses a queue that is larger than its own, 10.0 takes it.
  ...rows(
    "virtio in QEMU 10.0",
    [
      [
        "more queues",
        `${disk} -device virtio-blk-pci,drive=d0,num-queues=1`,
        `${disk} -device virtio-blk-pci,drive=d0,num-queues=2`,
      ],
      [
        "larger queues",
        `${disk} -device virtio-blk-pci,drive=d0,queue-size=256`,
        `${disk} -device virtio-blk-pci,drive=d0,queue-size=128`,
      ],
      ["fewer serial ports", "-device virtio-serial-pci", "-device virtio-serial-pci,max_ports=4"],
      ["more serial ports", "-device virtio-serial-pci,max_ports=4", "-device virtio-serial-pci"],
      [
        "without legacy",
        `${disk} -device virtio-blk-pci,drive=d0`,
        `${disk} -device virtio-blk-pci,drive=d0,disable-legacy=on`,
      ],
      ["more outputs", "-device virtio-gpu-pci,max_outputs=1", "-device virtio-gpu-pci,max_outputs=2"],
    ],
    "pc-q35-10.0",
    "10.0",
  ),
  ...rows(
    "virtio in QEMU 10.0",
    [
      [
        "MMIO: smaller queues",
        `${disk} -device virtio-blk-device,drive=d0`,
        `${disk} -device virtio-blk-device,drive=d0,queue-size=64`,
      ],
      ["MMIO: fewer serial ports", "-device virtio-serial-device", "-device virtio-serial-device,max_ports=4"],
    ],
    "microvm",
    "10.0",
  ),

  ...device("PCI", "e1000e,romfile=", [
    ["", "subsys=1"],
    ["", "mac=52:54:00:12:34:99"],
    ["", "addr=9"],
    ["", "multifunction=on"],
    ["", "disable_vnet_hdr=1"],
  ]),
  ...device("PCI", "e1000,romfile=", [["", "migrate_tso_props=off"]]),
  ...rows("PCI", [
    ["another network card", "-device e1000,romfile=,addr=5", "-device rtl8139,romfile=,addr=5"],
    ["another card of one family", "-device i82559er,romfile=,addr=5", "-device i82550,romfile=,addr=5"],
    ["e1000 of another model", "-device e1000-82544gc,romfile=,addr=5", "-device e1000-82545em,romfile=,addr=5"],
    [
      "shared memory of another size",
      "-object memory-backend-ram,id=sh,size=1M,share=on -device ivshmem-plain,memdev=sh,master=on",
      "-object memory-backend-ram,id=sh,size=4M,share=on -device ivshmem-plain,memdev=sh,master=on",
    ],
    ["a sound card without MSI", "-device intel-hda", "-device intel-hda,msi=off"],
    ["another sound card", "-device intel-hda,addr=5", "-device AC97,addr=5,audiodev=a0 -audiodev none,id=a0"],
    ["a card gone", "-device rtl8139,romfile=", ""],
    ["a card more", "", "-device rtl8139,romfile="],
    ["another SCSI adapter", "-device lsi53c895a,addr=5", "-device am53c974,addr=5"],
    ["another SCSI adapter of one vendor", "-device pvscsi,addr=5", "-device mptsas1068,addr=5"],
    ["megasas with fewer frames", "-device megasas", "-device megasas,max_cmds=500"],
    ["megasas without MSI-X", "-device megasas", "-device megasas,msix=off"],
    ["edu", "-device edu", "-device edu"],
  ]),
  ...device("slots", "pcie-root-port,id=p0,slot=1,chassis=1", [
    ["", "hotplug=off"],
    ["", "x-speed=2_5"],
    ["", "x-width=1"],
    ["", "io-reserve=8k"],
    ["", "power_controller_present=off"],
  ]),
  ...rows("slots", [
    ["another slot number", "-device pcie-root-port,slot=1,chassis=1", "-device pcie-root-port,slot=2,chassis=1"],
    ["another chassis", "-device pcie-root-port,slot=1,chassis=1", "-device pcie-root-port,slot=1,chassis=2"],
    [
      "a card in the slot gone",
      "-device pcie-root-port,id=p0,slot=1,chassis=1 -device virtio-rng-pci,bus=p0",
      "-device pcie-root-port,id=p0,slot=1,chassis=1",
    ],
    [
      "a card in the slot more",
      "-device pcie-root-port,id=p0,slot=1,chassis=1",
      "-device pcie-root-port,id=p0,slot=1,chassis=1 -device virtio-rng-pci,bus=p0",
    ],
    [
      "a card on the bus, then in a slot",
      "-device virtio-rng-pci",
      "-device pcie-root-port,id=p0,slot=1,chassis=1 -device virtio-rng-pci,bus=p0",
    ],
    ["a bridge of another chassis", "-device pci-bridge,chassis_nr=1", "-device pci-bridge,chassis_nr=2"],
    ["a bridge with SHPC", "-device pci-bridge,chassis_nr=1", "-device pci-bridge,chassis_nr=1,shpc=on"],
    [
      "another kind of port",
      "-device pcie-root-port,slot=1,chassis=1,addr=4",
      "-device ioh3420,slot=1,chassis=1,addr=4",
    ],
  ]),
  ...device("USB", "qemu-xhci,id=usb", [
    ["p2=8,p3=8", "p2=4,p3=4"],
    ["p2=4,p3=4", "p2=8,p3=8"],
    ["", "msix=off"],
  ]),
  ...device("USB", "nec-usb-xhci,id=usb", [
    ["intrs=1", "intrs=4"],
    ["slots=64", "slots=8"],
  ]),
  ...rows("USB", [
    ["nec-xhci", "-device nec-usb-xhci,addr=5", "-device qemu-xhci,addr=5"],
    ["a keyboard gone", "-device qemu-xhci,id=u -device usb-kbd,bus=u.0", "-device qemu-xhci,id=u"],
    [
      "a keyboard becomes a tablet",
      "-device qemu-xhci,id=u -device usb-kbd,bus=u.0",
      "-device qemu-xhci,id=u -device usb-tablet,bus=u.0",
    ],
    [
      "another port",
      "-device qemu-xhci,id=u -device usb-kbd,bus=u.0,port=1",
      "-device qemu-xhci,id=u -device usb-kbd,bus=u.0,port=2",
    ],
    ["ehci", "-device usb-ehci,maxframes=128", "-device usb-ehci,maxframes=64"],
  ]),
  ...device("displays", "VGA", [
    ["vgamem_mb=16", "vgamem_mb=32"],
    ["vgamem_mb=32", "vgamem_mb=16"],
    ["", "edid=off"],
    ["", "mmio=off"],
  ]),
  ...rows("displays", [
    ["VGA becomes Cirrus", "-device VGA,addr=5", "-device cirrus-vga,addr=5"],
    ["VGA becomes bochs-display", "-device VGA,addr=5", "-device bochs-display,addr=5"],
    ["bochs-display with more memory", "-device bochs-display", "-device bochs-display,vgamem=32M"],
    ["vmware-svga with more memory", "-device vmware-svga", "-device vmware-svga,vgamem_mb=32"],
  ]),
  ...rows("ROMs", [
    [
      "another ROM",
      "-device virtio-net-pci,romfile=efi-virtio.rom",
      "-device virtio-net-pci,romfile=efi-e1000.rom,romsize=524288",
    ],
    ["a ROM less", "-device virtio-net-pci", "-device virtio-net-pci,romfile="],
    ["a ROM more", "-device virtio-net-pci,romfile=", "-device virtio-net-pci"],
    ["a larger ROM", "-device e1000", "-device e1000,romsize=1048576"],
  ]),
  ...rows("disks", [
    ["a disk becomes a CD", `${disk} -device ide-hd,drive=d0,bus=ide.0`, `${disk} -device ide-cd,drive=d0,bus=ide.0`],
    ["a disk gone", `${disk} -device ide-hd,drive=d0,bus=ide.0`, ""],
    [
      "a disk on another port",
      `${disk} -device ide-hd,drive=d0,bus=ide.0`,
      `${disk} -device ide-hd,drive=d0,bus=ide.1`,
    ],
    [
      "a SCSI disk with another number",
      `${disk} -device virtio-scsi-pci,id=s -device scsi-hd,drive=d0,bus=s.0,lun=0`,
      `${disk} -device virtio-scsi-pci,id=s -device scsi-hd,drive=d0,bus=s.0,lun=1`,
    ],
    [
      "a SCSI disk becomes a CD",
      `${disk} -device virtio-scsi-pci,id=s -device scsi-hd,drive=d0,bus=s.0`,
      `${disk} -device virtio-scsi-pci,id=s -device scsi-cd,drive=d0,bus=s.0`,
    ],
    [
      "a disk of another size",
      `${disk} -device virtio-blk-pci,drive=d0`,
      `${disk.replace("1M", "2M")} -device virtio-blk-pci,drive=d0`,
    ],
  ]),
  ...rows(
    "every PCI device, each property",
    sweep.flatMap(([words, properties]) => [
      [`${nameOf(words)} as it is`, words, words] as const,
      ...properties.map((property) => [`${nameOf(words)},${property}`, words, `${words},${property}`] as const),
    ]),
  ),
  {
    kind: "run state",
    name: "a run state that does not exist",
    source: machine(newest, "pc-q35-10.0", ""),
    destination: machine(newest, "pc-q35-10.0", ""),
    edit: "runstate",
  },
];
