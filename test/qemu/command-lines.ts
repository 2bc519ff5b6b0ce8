// Command lines as the programs write them that start most VMs. Each has what CPR needs (memory that is shared, a machine
// type with its version); where those programs pass fds, a path stands here.
import { writeFileSync } from "node:fs";
import { join } from "node:path";

/** What the guest starts from, and where its serial port goes. */
interface Guest {
  readonly boot: "firmware" | "linux";
  readonly kernel: readonly string[];
}

/** A style of command line. */
export interface CommandLine {
  readonly name: string;
  /** The words after the program; makes the files that they name in `dir`, where the serial socket and qmp.sock are to be. */
  words(dir: string, guest: Guest): string[];
  /** The machine type, if not pc-q35-10.0. */
  readonly machine?: string;
  /** In `dir`: a socket to which QEMU's monitor connects by itself, where somebody listens. */
  readonly listener?: string;
  /** What an update warns of, besides what it does of all. */
  readonly warning?: RegExp;
}

/** What Proxmox VE's file for a q35 has: the USB controllers that it puts behind every such VM, and its PCI bridges. */
const q35File = `
[device "ehci"]
  driver = "ich9-usb-ehci1"
  multifunction = "on"
  bus = "pcie.0"
  addr = "1d.7"

[device "uhci-1"]
  driver = "ich9-usb-uhci1"
  multifunction = "on"
  bus = "pcie.0"
  addr = "1d.0"
  masterbus = "ehci.0"
  firstport = "0"

[device "pcidmi"]
  driver = "i82801b11-bridge"
  bus = "pcie.0"
  addr = "1e.0"

[device "pci.0"]
  driver = "pci-bridge"
  bus = "pcidmi"
  addr = "1.0"
  chassis_nr = "1"

[device "pci.3"]
  driver = "pci-bridge"
  bus = "pcidmi"
  addr = "4.0"
  chassis_nr = "4"

# root ports
[device "ich9-pcie-port-1"]
  driver = "pcie-root-port"
  x-speed = "16"
  x-width = "32"
  multifunction = "on"
  bus = "pcie.0"
  addr = "1c.0"
  port = "1"
  chassis = "1"
`;

function image(dir: string, name: string): string {
  const path = join(dir, name);
  writeFileSync(path, new Uint8Array(4 << 20));
  return path;
}

const firmware = (dir: string, { boot, kernel }: Guest) =>
  boot === "firmware" ? ["-bios", `${dir}/guest.rom`] : kernel;

const proxmox: CommandLine = {
  name: "Proxmox VE: q35 with its -readconfig, virtio-scsi with an iothread, agent, VNC, vmgenid, balloon",
  words(dir, guest) {
    writeFileSync(join(dir, "pve-q35.cfg"), q35File);
    return [
      ...["-name", "vm100,debug-threads=on", "-no-shutdown"],
      ...["-chardev", `socket,id=qmp,path=${dir}/qmp.sock,server=on,wait=off`, "-mon", "chardev=qmp,mode=control"],
      ...["-pidfile", `${dir}/100.pid`],
      ...["-smbios", "type=1,uuid=6f2ac1c1-8d9c-4c2b-8e0b-1d3a5b7c9e0f"],
      ...["-smp", "2,sockets=1,cores=2,maxcpus=2", "-nodefaults"],
      ...["-boot", "menu=on,strict=on,reboot-timeout=1000"],
      ...["-vnc", `unix:${dir}/100.vnc`, "-cpu", "qemu64,+x2apic", "-m", guest.boot === "firmware" ? "32" : "160"],
      ...["-object", "iothread,id=iothread-virtioscsi0"],
      ...["-object", `memory-backend-memfd,id=ram0,size=${guest.boot === "firmware" ? 32 : 160}M,share=on`],
      ...["-readconfig", `${dir}/pve-q35.cfg`],
      ...["-device", "vmgenid,guid=4b1a3c5d-7e9f-4012-8345-6789abcdef01"],
      ...["-device", "usb-tablet,id=tablet,bus=ehci.0,port=1"],
      ...["-chardev", `socket,id=serial0,path=${dir}/serial.sock`, "-device", "isa-serial,chardev=serial0"],
      ...["-device", "VGA,id=vga,bus=pcie.0,addr=0x1"],
      ...["-chardev", `socket,path=${dir}/100.qga,server=on,wait=off,id=qga0`],
      ...["-device", "virtio-serial,id=qga0,bus=pci.0,addr=0x8"],
      ...["-device", "virtserialport,chardev=qga0,name=org.qemu.guest_agent.0"],
      ...["-device", "virtio-balloon-pci,id=balloon0,bus=pci.0,addr=0x3,free-page-reporting=on"],
      ...["-iscsi", "initiator-name=iqn.1993-08.org.debian:01:2c5b3b2d6e"],
      ...["-drive", "if=none,id=drive-ide2,media=cdrom", "-device", "ide-cd,bus=ide.1,unit=0,drive=drive-ide2,id=ide2"],
      ...["-device", "virtio-scsi-pci,id=virtioscsi0,bus=pci.3,addr=0x1,iothread=iothread-virtioscsi0"],
      "-drive",
      `file=${image(dir, "vm-100-disk-0.raw")},if=none,id=drive-scsi0,cache=writeback,discard=on,format=raw,aio=threads,detect-zeroes=unmap`,
      "-device",
      "scsi-hd,bus=virtioscsi0.0,channel=0,scsi-id=0,lun=0,drive=drive-scsi0,id=scsi0,rotation_rate=1,bootindex=100",
      ...["-netdev", "type=user,id=net0"],
      "-device",
      "virtio-net-pci,mac=BC:24:11:01:02:03,netdev=net0,bus=pci.0,addr=0x12,id=net0,rx_queue_size=1024,tx_queue_size=256",
      ...firmware(dir, guest),
      ...["-machine", "type=pc-q35-10.0,accel=tcg,memory-backend=ram0,aux-ram-share=on"],
    ];
  },
};

const json = (value: Record<string, unknown>) => JSON.stringify(value);

/** A picture for the boot menu: what QEMU looks at of it (QEMU 10.0 hw/nvram/fw_cfg.c: its kind and depth). */
function splash(dir: string): string {
  const bytes = new Uint8Array(64);
  bytes.set(new TextEncoder().encode("BM"));
  bytes[28] = 24;
  const path = join(dir, "bootsplash.bmp");
  writeFileSync(path, bytes);
  return path;
}

/** A disk as Proxmox VE 9 has it: a node that limits, over the format, over the file. */
function throttled(dir: string, name: string, more: Record<string, unknown> = {}): string[] {
  const every = { "detect-zeroes": "unmap", discard: "unmap", "read-only": false };
  const cache = { direct: false, "no-flush": false };
  const file = { ...every, cache, driver: "file", aio: "threads", filename: image(dir, `vm-100-${name}.raw`) };
  return [
    ...["-object", json({ id: `throttle-drive-${name}`, limits: {}, "qom-type": "throttle-group" })],
    "-blockdev",
    json({
      ...{ ...every, driver: "throttle", "node-name": `drive-${name}`, "throttle-group": `throttle-drive-${name}` },
      file: {
        ...{ ...every, cache, driver: "raw", "node-name": `f-${name}`, ...more },
        file: { ...file, "node-name": `e-${name}` },
      },
    }),
  ];
}

/** Also its own daemon, to whose socket a second monitor connects. */
const proxmoxI440fx: CommandLine = {
  name: "Proxmox VE 9: i440fx, daemon, qmeventd, UEFI's flash, throttle groups, memory and CPUs to plug in, VNC with a password",
  machine: "pc-i440fx-10.0",
  listener: "qmeventd.sock",
  warning: /^VNC of default asks for a password that QEMU does not tell/,
  words(dir, guest) {
    const isFirmware = guest.boot === "firmware";
    const half = isFirmware ? 16 : 80;
    const backend = (id: string, size: number) => `memory-backend-memfd,id=${id},size=${size}M,share=on`;
    const flash = [
      "-blockdev",
      json({
        driver: "raw",
        "node-name": "pflash0",
        "read-only": true,
        file: { driver: "file", filename: `${dir}/guest.rom` },
      }),
    ];
    return [
      ...["-name", "vm101,debug-threads=on", "-no-shutdown"],
      ...["-chardev", `socket,id=qmp,path=${dir}/qmp.sock,server=on,wait=off`, "-mon", "chardev=qmp,mode=control"],
      ...["-chardev", `socket,id=qmp-event,path=${dir}/qmeventd.sock,reconnect-ms=5000`],
      ...["-mon", "chardev=qmp-event,mode=control", "-pidfile", `${dir}/101.pid`, "-daemonize"],
      ...["-smbios", "type=1,uuid=5b0f3c12-2b6d-4f6e-9a55-8d7f0e1c2a3b"],
      ...(isFirmware ? [...flash, ...throttled(dir, "efidisk0", { size: 540672 })] : guest.kernel),
      ...["-smp", "2,sockets=1,cores=2,maxcpus=2", "-nodefaults"],
      ...["-boot", `menu=on,strict=on,reboot-timeout=1000,splash=${splash(dir)}`],
      ...["-vnc", `unix:${dir}/101.vnc,password=on`, "-cpu", "qemu64,+x2apic"],
      ...["-m", `size=${2 * half},slots=4,maxmem=1024M`],
      ...["-object", backend("ram-node0", half), "-numa", "node,nodeid=0,cpus=0,memdev=ram-node0"],
      ...["-object", backend("ram-node1", half), "-numa", "node,nodeid=1,cpus=1,memdev=ram-node1"],
      ...["-object", backend("mem-dimm0", 16), "-device", "pc-dimm,id=dimm0,memdev=mem-dimm0,node=0"],
      ...["-object", "iothread,id=iothread-virtioscsi0"],
      ...["-global", "PIIX4_PM.disable_s3=1", "-global", "PIIX4_PM.disable_s4=1"],
      ...[1, 2, 3].flatMap((id) => [
        "-device",
        `pci-bridge,id=pci.${id},chassis_nr=${id},bus=pci.0,addr=${["", "0x1e", "0x1f", "0x5"][id]}`,
      ]),
      ...["-device", "vmgenid,guid=0e5d1f0a-3c4b-4a69-8877-665544332211"],
      ...["-device", "piix3-usb-uhci,id=uhci,bus=pci.0,addr=0x1.0x2"],
      ...["-device", "usb-tablet,id=tablet,bus=uhci.0,port=1"],
      ...["-chardev", `socket,id=serial0,path=${dir}/serial.sock`, "-device", "isa-serial,chardev=serial0"],
      ...["-device", "VGA,id=vga,bus=pci.0,addr=0x2"],
      ...["-chardev", `socket,path=${dir}/101.qga,server=on,wait=off,id=qga0`],
      ...["-device", "virtio-serial,id=qga0,bus=pci.0,addr=0x8"],
      ...["-device", "virtserialport,chardev=qga0,name=org.qemu.guest_agent.0"],
      ...["-device", "virtio-balloon-pci,id=balloon0,bus=pci.0,addr=0x3,free-page-reporting=on"],
      ...["-iscsi", "initiator-name=iqn.1993-08.org.debian:01:0a1b2c3d4e5f"],
      ...["-device", "ide-cd,bus=ide.1,unit=0,id=ide2,bootindex=200"],
      ...["-device", "virtio-scsi-pci,id=virtioscsi0,bus=pci.3,addr=0x1,iothread=iothread-virtioscsi0"],
      ...throttled(dir, "scsi0"),
      "-device",
      "scsi-hd,bus=virtioscsi0.0,channel=0,scsi-id=0,lun=0,drive=drive-scsi0,id=scsi0,device_id=drive-scsi0,bootindex=100,write-cache=on",
      ...["-netdev", "type=user,id=net0"],
      "-device",
      "virtio-net-pci,mac=BC:24:11:04:05:06,netdev=net0,bus=pci.0,addr=0x12,id=net0,rx_queue_size=1024,tx_queue_size=256,bootindex=300,host_mtu=1500",
      "-machine",
      `hpet=off,type=pc-i440fx-10.0,accel=tcg,aux-ram-share=on${isFirmware ? ",pflash0=pflash0,pflash1=drive-efidisk0" : ""}`,
    ];
  },
};

function rootPorts(count: number): string[] {
  return Array.from({ length: count }, (_, index) => [
    "-device",
    json({
      driver: "pcie-root-port",
      port: 16 + index,
      chassis: index + 1,
      id: `pci.${index + 1}`,
      bus: "pcie.0",
      ...(index === 0 ? { multifunction: true } : {}),
      addr: index === 0 ? "0x2" : `0x2.0x${index.toString(16)}`,
    }),
  ]).flat();
}

const libvirtLike = (dir: string, guest: Guest, ram: readonly string[], serial: readonly string[]): string[] => {
  writeFileSync(join(dir, "master-key.aes"), new Uint8Array(32).fill(7));
  const pflash = guest.boot === "firmware" ? ",pflash0=libvirt-pflash0-format" : "";
  return [
    ...["-name", "guest=vm1,debug-threads=on"],
    ...["-object", json({ "qom-type": "secret", id: "masterKey0", format: "raw", file: `${dir}/master-key.aes` })],
    ...(guest.boot === "firmware"
      ? [
          "-blockdev",
          json({
            driver: "file",
            filename: `${dir}/guest.rom`,
            "node-name": "libvirt-pflash0-storage",
            "auto-read-only": true,
            discard: "unmap",
          }),
          "-blockdev",
          json({
            "node-name": "libvirt-pflash0-format",
            "read-only": true,
            driver: "raw",
            file: "libvirt-pflash0-storage",
          }),
        ]
      : guest.kernel),
    "-machine",
    `pc-q35-10.0,usb=off,dump-guest-core=off,memory-backend=pc.ram,acpi=on,aux-ram-share=on${pflash}`,
    ...["-accel", "tcg", "-cpu", "qemu64"],
    ...ram,
    ...["-overcommit", "mem-lock=off", "-smp", "2,sockets=2,cores=1,threads=1"],
    ...["-uuid", "8a3b1f0e-5d7c-4e2a-9b6f-0c1d2e3f4a5b", "-display", "none", "-no-user-config", "-nodefaults"],
    ...["-chardev", `socket,id=charmonitor,path=${dir}/qmp.sock,server=on,wait=off`],
    ...["-mon", "chardev=charmonitor,id=monitor,mode=control"],
    ...["-rtc", "base=utc,driftfix=slew", "-global", "kvm-pit.lost_tick_policy=delay", "-no-shutdown"],
    ...["-global", "ICH9-LPC.disable_s3=1", "-global", "ICH9-LPC.disable_s4=1", "-boot", "strict=on"],
    ...rootPorts(6),
    ...["-device", json({ driver: "qemu-xhci", p2: 15, p3: 15, id: "usb", bus: "pci.2", addr: "0x0" })],
    ...["-device", json({ driver: "virtio-serial-pci", id: "virtio-serial0", bus: "pci.3", addr: "0x0" })],
    "-blockdev",
    json({
      driver: "file",
      filename: image(dir, "disk.raw"),
      "node-name": "libvirt-1-storage",
      "auto-read-only": true,
      discard: "unmap",
    }),
    ...[
      "-blockdev",
      json({ "node-name": "libvirt-1-format", "read-only": false, driver: "raw", file: "libvirt-1-storage" }),
    ],
    "-device",
    json({
      driver: "virtio-blk-pci",
      bus: "pci.4",
      addr: "0x0",
      drive: "libvirt-1-format",
      id: "virtio-disk0",
      bootindex: 1,
    }),
    ...["-netdev", json({ type: "user", id: "hostnet0" })],
    "-device",
    json({
      driver: "virtio-net-pci",
      netdev: "hostnet0",
      id: "net0",
      mac: "52:54:00:1a:2b:3c",
      bus: "pci.1",
      addr: "0x0",
    }),
    ...serial,
    ...["-chardev", `socket,id=charchannel0,path=${dir}/agent.sock,server=on,wait=off`],
    "-device",
    json({
      driver: "virtserialport",
      bus: "virtio-serial0.0",
      nr: 1,
      chardev: "charchannel0",
      id: "channel0",
      name: "org.qemu.guest_agent.0",
    }),
    ...["-audiodev", json({ id: "audio1", driver: "none" }), "-global", "ICH9-LPC.noreboot=off"],
    ...["-watchdog-action", "reset"],
    ...["-device", json({ driver: "virtio-balloon-pci", id: "balloon0", bus: "pci.5", addr: "0x0" })],
    ...["-object", json({ "qom-type": "rng-random", id: "objrng0", filename: "/dev/urandom" })],
    ...["-device", json({ driver: "virtio-rng-pci", rng: "objrng0", id: "rng0", bus: "pci.6", addr: "0x0" })],
    ...["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"],
    ...["-msg", "timestamp=on"],
  ];
};

const serialDevice = (dir: string) => [
  ...["-chardev", `socket,id=charserial0,path=${dir}/serial.sock`],
  ...["-device", json({ driver: "isa-serial", chardev: "charserial0", id: "serial0", index: 0 })],
];

const bytes = (guest: Guest) => (guest.boot === "firmware" ? 32 : 160) << 20;

const libvirt: CommandLine = {
  name: "libvirt: JSON, pflash, a secret, a sandbox",
  words: (dir, guest) =>
    libvirtLike(
      dir,
      guest,
      [
        ...["-m", `size=${bytes(guest) >> 10}k`],
        "-object",
        json({ "qom-type": "memory-backend-memfd", id: "pc.ram", share: true, size: bytes(guest) }),
      ],
      serialDevice(dir),
    ),
};

const kubevirt: CommandLine = {
  name: "KubeVirt: VNC on a socket, SMBIOS, a volume beside the disk, RAM in a file",
  words: (dir, guest) => {
    const words = libvirtLike(
      dir,
      guest,
      [
        ...["-m", `size=${bytes(guest) >> 10}k`],
        "-object",
        json({
          "qom-type": "memory-backend-file",
          id: "pc.ram",
          "mem-path": `${dir}/pc.ram`,
          share: true,
          size: bytes(guest),
        }),
      ],
      serialDevice(dir),
    );
    return [
      ...words,
      ...[
        "-smbios",
        "type=1,manufacturer=KubeVirt,product=None,uuid=8a3b1f0e-5d7c-4e2a-9b6f-0c1d2e3f4a5b,family=KubeVirt",
      ],
      ...["-vnc", `vnc=unix:${dir}/virt-vnc,audiodev=audio1`],
      ...["-device", json({ driver: "VGA", id: "video0", vgamem_mb: 16, bus: "pcie.0", addr: "0x1" })],
      "-blockdev",
      json({
        driver: "file",
        filename: image(dir, "noCloud.iso"),
        "node-name": "libvirt-2-storage",
        "read-only": true,
        cache: { direct: false, "no-flush": false },
      }),
      ...["-device", json({ driver: "ide-cd", bus: "ide.0", drive: "libvirt-2-storage", id: "sata0-0-0" })],
    ];
  },
};

/** Two nodes, each with a backend of its own; `backends`: the words of both but id, size and share. */
function numaWords(dir: string, guest: Guest, backends: readonly [string, string]): string[] {
  const half = bytes(guest) / 2;
  return [
    ...["-machine", "pc-q35-10.0,accel=tcg,aux-ram-share=on", "-m", String(bytes(guest) >> 20)],
    ...["-smp", "2,sockets=2,cores=1", "-nodefaults", "-display", "none", "-no-user-config"],
    ...backends.flatMap((words, index) => ["-object", `${words},id=ram-node${index},size=${half},share=on`]),
    ...["-numa", "node,nodeid=0,cpus=0,memdev=ram-node0", "-numa", "node,nodeid=1,cpus=1,memdev=ram-node1"],
    ...["-numa", "dist,src=0,dst=1,val=20"],
    ...["-chardev", `socket,id=serial0,path=${dir}/serial.sock`, "-serial", "chardev:serial0"],
    ...["-qmp", `unix:${dir}/qmp.sock,server=on,wait=off`],
    ...firmware(dir, guest),
  ];
}

const numa: CommandLine = {
  name: "NUMA: two nodes with a backend each, one of them in a folder",
  words: (dir, guest) =>
    numaWords(dir, guest, ["memory-backend-memfd,prealloc=on", `memory-backend-file,mem-path=${dir}`]),
};

/** As `numa`, of huge pages: `folder` is where they are mounted. */
export function hugePages(folder: string): CommandLine {
  return {
    name: "huge pages: two NUMA nodes, in a memfd and in a folder",
    words: (dir, guest) =>
      numaWords(dir, guest, [
        "memory-backend-memfd,hugetlb=on,hugetlbsize=2M,prealloc=on",
        `memory-backend-file,mem-path=${folder},prealloc=on`,
      ]),
  };
}

/** All styles. */
export const commandLines: readonly CommandLine[] = [proxmox, proxmoxI440fx, libvirt, kubevirt, numa];
