// Two machines compared: the same command line started twice has no difference but those by design, in one version of
// QEMU and between two; and each change that is made to one of them is found.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { compareMachines, type Machine, machineSchema, type Qmp, readMachine } from "../../src/qemu/index.ts";
import { describeQemu } from "../support/qemu.ts";
import { privateDir, startVm } from "../support/vm.ts";
import { type TestVm, withVm } from "./preflight-support.ts";
import { createQcow2 } from "./update-support.ts";

const machines = ["pc-q35-10.0", "pc-i440fx-10.0", "microvm"] as const;
type MachineName = (typeof machines)[number];

/** One folder for all starts of a machine: the same paths, the same files. */
async function folderFor(qemu: string): Promise<string> {
  const dir = privateDir();
  await createQcow2(qemu, dir);
  for (const name of ["disk.img", "disc.iso"]) writeFileSync(join(dir, name), Buffer.alloc(1 << 20));
  return dir;
}

function argumentsOf(machine: MachineName, dir: string): string[] {
  const isMicrovm = machine === "microvm";
  const bus = isMicrovm ? "device" : "pci";
  return [
    ["-name", "vm one", "-uuid", "5a0c3f1e-2f0b-4a76-9d6e-111111111111", "-smp", "2"],
    ["-object", "iothread,id=io0", "-object", "throttle-group,id=tg0,x-iops-total=100"],
    ["-blockdev", `driver=file,node-name=file0,filename=${join(dir, "disk.qcow2")}`],
    ["-blockdev", "driver=qcow2,node-name=fmt0,file=file0"],
    ["-blockdev", "driver=throttle,node-name=thr0,throttle-group=tg0,file=fmt0"],
    ["-device", `virtio-blk-${bus},id=blk,drive=thr0,iothread=io0`],
    ["-device", `virtio-scsi-${bus},id=scsi`],
    ["-drive", `if=none,id=d1,format=raw,file=${join(dir, "disk.img")}`, "-device", "scsi-hd,drive=d1,id=hd1"],
    ["-drive", `if=none,id=cd,format=raw,readonly=on,media=cdrom,file=${join(dir, "disc.iso")}`],
    ["-device", "scsi-cd,drive=cd,id=cdrom"],
    ["-netdev", "user,id=n0", "-device", `virtio-net-${bus},id=nic,netdev=n0,mac=52:54:00:00:00:07`],
    ["-chardev", `socket,id=agent,path=${join(dir, "agent.sock")},server=on,wait=off`, "-chardev", "null,id=c0"],
    ["-device", `virtio-serial-${bus}`, "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"],
    ["-device", `virtio-balloon-${bus},id=balloon`, "-vnc", `unix:${join(dir, "vnc.sock")}`],
    isMicrovm ? [] : ["-device", "qemu-xhci,id=usb", "-device", "i6300esb,id=watchdog"],
    ["-device", "usb-tablet,id=tablet"],
  ].flat();
}

function withMachine(qemu: string, machine: MachineName, dir: string, body: (vm: TestVm) => Promise<void>) {
  const properties = `${machine},aux-ram-share=on,memory-backend=ram0${machine === "microvm" ? ",usb=on" : ""}`;
  return withVm({ qemu, machine: properties, dir, args: argumentsOf(machine, dir) }, body);
}

async function readOne(qemu: string, machine: MachineName, dir: string): Promise<Machine> {
  let read: Machine | undefined;
  await withMachine(qemu, machine, dir, async (vm) => {
    read = await readMachine({ qmp: vm.qmpPath });
  });
  if (read === undefined) throw new Error("nothing was read");
  return read;
}

/** A machine of 10.0 takes a second to read: of the other pairs only the one with the newer QEMU is read each time. */
const isLong = process.env["CPRKIT_LONG"] === "1";

describeQemu("the same command line, started twice", ["10.0", "11.1"], (qemu) => {
  for (const machine of machines) {
    for (const [from, to] of [
      ["10.0", "10.0"],
      ["11.1", "11.1"],
      ["10.0", "11.1"],
      ["11.1", "10.0"],
    ] as const) {
      const isShort = machine === machines[0] ? from === "10.0" && to === "11.1" : from === "11.1" && to === "11.1";
      if (!isLong && !isShort) continue;
      it(`${machine}, ${from} and ${to}: no undeclared difference`, async () => {
        const dir = await folderFor(qemu[to]);
        const [old, next] = [await readOne(qemu[from], machine, dir), await readOne(qemu[to], machine, dir)];
        const { compared, differences, expected } = compareMachines(old, next);
        expect(differences).toEqual([]);
        expect(compared).toBeGreaterThan(1500);
        expect(expected.length).toBeGreaterThan(5);
        const reasons = new Set(expected.map(({ reason }) => reason));
        if (from === to)
          expect([...reasons].filter((one) => !["process", "memory", "guest"].includes(one))).toEqual([]);
      });
    }
  }
});

/** What is done to the machine, and where every difference that it makes must be; [] is nowhere: QEMU does not tell. */
const changes: readonly (readonly [string, (qmp: Qmp, dir: string) => Promise<unknown>, readonly RegExp[]])[] = [
  [
    "block_set_io_throttle",
    (qmp) => {
      const others = { bps_rd: 0, bps_wr: 0, iops: 0, iops_rd: 0, iops_wr: 0 };
      return qmp.execute("block_set_io_throttle", { id: "hd1", bps: 1_000_000, ...others });
    },
    [/^block\.devices\[d1\]\.limits/],
  ],
  [
    "block-dirty-bitmap-add",
    (qmp) => qmp.execute("block-dirty-bitmap-add", { node: "fmt0", name: "b0" }),
    [/^block\.nodes\[fmt0\]\.bitmaps/],
  ],
  [
    "blockdev-snapshot-sync",
    (qmp, dir) => qmp.execute("blockdev-snapshot-sync", { device: "d1", "snapshot-file": join(dir, "over.qcow2") }),
    [/^block\./],
  ],
  ["eject", (qmp) => qmp.execute("eject", { id: "cdrom", force: true }), [/^block\./]],
  [
    "device_add",
    (qmp) => qmp.execute("device_add", { driver: "usb-kbd", id: "kbd0" }),
    [/^devices\[\/machine\/peripheral\/kbd0\]/, /^qom\[\/machine\/peripheral\/kbd0\]/],
  ],
  [
    "device_del",
    async (qmp) => {
      await qmp.execute("device_del", { id: "kbd0" });
      await qmp.waitForEvent("DEVICE_DELETED", { since: 0 });
    },
    [/^devices\[\/machine\/peripheral\/kbd0\]/, /^qom\[\/machine\/peripheral\/kbd0\]/],
  ],
  [
    "object-add",
    (qmp) => qmp.execute("object-add", { "qom-type": "iothread", id: "io1" }),
    [/^objects\[io1\]/, /^iothreads\[io1\]/, /^qom\[\/objects\/io1\]/, /^process\.threads\[iothread io1\]/],
  ],
  ["netdev_add", (qmp) => qmp.execute("netdev_add", { type: "user", id: "n1" }), [/^net\.clients\[n1\]/]],
  ["set_link", (qmp) => qmp.execute("set_link", { name: "nic", up: false }), []],
  [
    "chardev-add",
    (qmp) => qmp.execute("chardev-add", { id: "c1", backend: { type: "null", data: {} } }),
    [/^chardevs\[c1\]/, /^qom\[\/chardevs\/c1\]/],
  ],
  [
    "migrate-set-parameters",
    (qmp) => qmp.execute("migrate-set-parameters", { "max-bandwidth": 123_456_789 }),
    [/^migration\.parameters\.max-bandwidth/],
  ],
  [
    "balloon statistics",
    (qmp) =>
      qmp.execute("qom-set", {
        path: "/machine/peripheral/balloon",
        property: "guest-stats-polling-interval",
        value: 7,
      }),
    [
      /^(qom|devices)\[\/machine\/peripheral\/balloon(\/virtio-backend)?\]\.(properties|options)\.guest-stats-polling-interval/,
    ],
  ],
  ["watchdog-set-action", (qmp) => qmp.execute("watchdog-set-action", { action: "pause" }), []],
  [
    "iothread polling",
    (qmp) => qmp.execute("qom-set", { path: "/objects/io0", property: "poll-max-ns", value: 5 }),
    [/^(iothreads|objects)\[io0\]/, /^qom\[\/objects\/io0\]/],
  ],
  [
    "display-update",
    (qmp, dir) =>
      qmp.execute("display-update", { type: "vnc", addresses: [{ type: "unix", path: join(dir, "vnc2.sock") }] }),
    [/^vnc\[/, /^process\.sockets\[/],
  ],
];

for (const version of isLong ? (["10.0", "11.1"] as const) : (["11.1"] as const)) {
  describeQemu(`changes to a running machine, QEMU ${version}`, [version], ({ [version]: qemu }) => {
    it("each is found, and nothing else", async () => {
      const dir = await folderFor(qemu);
      await withMachine(qemu, "pc-q35-10.0", dir, async (vm) => {
        let before = await readMachine({ qmp: vm.qmpPath });
        for (const [name, change, places] of changes) {
          await vm.ask((qmp) => change(qmp, dir));
          const after = await readMachine({ qmp: vm.qmpPath });
          const paths = compareMachines(before, after).differences.map(({ path }) => path);
          expect([name, paths.filter((path) => !places.some((place) => place.test(path)))]).toEqual([name, []]);
          const missed = places.filter((place) => !paths.some((path) => place.test(path)));
          expect([name, missed]).toEqual([name, []]);
          before = after;
        }
      });
    }, 120_000);
  });
}

describeQemu(
  "a guest that boots",
  ["10.0", "11.1"],
  (qemu) => {
    it.each(["10.0", "11.1"] as const)(
      "and takes its devices into use makes no difference, QEMU %s",
      async (version) => {
        const dir = await folderFor(qemu[version]);
        const machine = "pc-q35-10.0";
        const extraArgs = argumentsOf(machine, dir);
        const vm = await startVm({ qemu: qemu[version], machine, accel: "tcg", guest: "linux", extraArgs });
        try {
          await vm.listening();
          const before = await readMachine({ qmp: vm.qmpPath });
          await vm.serial.waitForCount(3, 90_000);
          const after = await readMachine({ qmp: vm.qmpPath });
          expect(compareMachines(before, after).differences).toEqual([]);
        } finally {
          await vm.kill();
        }
      },
      120_000,
    );
  },
  { linux: true },
);

/** A machine of a few parts. */
function machineOf(change: (machine: Machine) => void = () => {}): Machine {
  const device = (number: number, type: string) => ({
    path: `/machine/unattached/device[${number}]`,
    type,
    properties: { realized: true },
  });
  const node = { readOnly: false, size: 512, cache: { writeback: true, direct: false, noFlush: false } };
  const machine: Machine = {
    qemu: { version: "10.0.2", package: "" },
    type: "pc-q35-10.0",
    status: { status: "running", running: true },
    qom: [
      { path: "/machine", type: "pc-q35-10.0-machine", properties: { "rtc-time": { tm_sec: 1 } } },
      device(1, "ICH9-LPC"),
      device(2, "hpet"),
    ],
    devices: [],
    objects: [],
    cpus: { count: 1 },
    memory: {
      backends: [],
      blocks: [
        { name: "ram0", size: 4096, file: { fd: 9, link: "/memfd:ram0 (deleted)", device: "0:1", inode: 5 } },
        { name: "dimm", size: 4096, file: { fd: 10, link: "/huge/dimm (deleted)", device: "0:44", inode: 6 } },
      ],
    },
    block: {
      devices: [{ device: "d0", node: "#block100", removable: false, locked: false, limits: {} }],
      nodes: [
        {
          ...{ ...node, name: "#block100", driver: "raw", file: "disk.img" },
          ...{ children: [{ name: "file", node: "#block017" }], limits: {}, bitmaps: [], other: {} },
        },
        {
          ...{ ...node, name: "#block017", driver: "file", file: "disk.img" },
          ...{ children: [], limits: {}, bitmaps: [], other: { "actual-size": 512 } },
          open: { fd: 12, link: "/vm/disk.img", device: "8:1", inode: 77 },
        },
      ],
      jobs: [],
      exports: [],
    },
    chardevs: [{ label: "q", filename: "unix:/vm/q.sock,server=on <-> @", "frontend-open": true }],
    net: { clients: [], forwards: [] },
    iothreads: [],
    vnc: [],
    migration: { parameters: { mode: "normal" }, capabilities: [] },
    fdsets: [],
    process: {
      ...{ pid: 7, program: "/usr/bin/qemu", uid: 0, gid: 0, groups: [], noNewPrivs: false, seccompFilters: 0 },
      capabilities: { inheritable: "0", permitted: "0", bounding: "0", ambient: "0" },
      ...{ umask: "0022", namespaces: { net: "net:[1]" }, oomScoreAdj: 0, limits: {}, threads: [] },
      sockets: [{ path: "/vm/q.sock", mode: "0660", uid: 0, gid: 0 }],
      tcp: [],
    },
    unanswered: [],
  };
  const copy = machineSchema.parse(machine);
  change(copy);
  return copy;
}

const found = (change: (machine: Machine) => void, old: Machine = machineOf()) =>
  compareMachines(old, machineOf(change)).differences.map(({ path }) => path);
const reasons = (change: (machine: Machine) => void) =>
  compareMachines(machineOf(), machineOf(change)).expected.map(({ path, reason }) => [path, reason]);

describe("the comparison", () => {
  it("a machine with itself", () => {
    expect(compareMachines(machineOf(), machineOf())).toMatchObject({ differences: [], expected: [] });
  });

  it("generated names mean what they stand for", () => {
    const renumbered = (machine: Machine) => {
      for (const object of machine.qom.slice(1))
        object.path = object.path.replace(/\d+/, (digit) => String(Number(digit) + 3));
      const [disk, file] = machine.block.nodes;
      if (disk === undefined || file === undefined || machine.block.devices[0] === undefined)
        throw new Error("no disk");
      disk.name = "#block200";
      machine.block.devices[0].node = "#block200";
      file.name = "#block201";
      disk.children = [{ name: "file", node: "#block201" }];
    };
    expect(found(renumbered)).toEqual([]);
    expect(found((machine) => void machine.qom.splice(1, 1))).toEqual(["qom[/machine/unattached/ICH9-LPC[0]]"]);
  });

  it("what must differ is told with its reason", () => {
    expect(
      reasons((machine) => {
        machine.process.pid = 8;
        for (const [index, { file }] of machine.memory.blocks.slice(0, 1).entries())
          if (file) file.inode = 1000 + index;
        machine.status = { status: "inmigrate", running: false };
        for (const chardev of machine.chardevs) chardev.filename = "disconnected:unix:/vm/q.sock.cpr1,server=on";
        for (const socket of machine.process.sockets) socket.path += ".cpr12";
      }),
    ).toEqual([
      ["status.status", "waiting"],
      ["status.running", "waiting"],
      ["memory.blocks[ram0].file.inode", "memory"],
      ["chardevs[q].filename", "client"],
      ["process.pid", "process"],
    ]);
  });

  it("another file behind guest RAM or a disk, a stopped guest, another owner of a socket are differences", () => {
    expect(
      found((machine) => {
        for (const { file } of machine.memory.blocks.slice(1)) if (file) file.inode = 1000;
        for (const { open } of machine.block.nodes) if (open) open.inode = 1000;
        machine.status = { status: "paused", running: false };
        machine.process.namespaces = { net: "net:[2]" };
        for (const socket of machine.process.sockets) socket.uid = 107;
      }).toSorted(),
    ).toEqual([
      "block.nodes[#d0.file].open.inode",
      "memory.blocks[dimm].file.inode",
      "process.namespaces.net",
      "process.sockets[/vm/q.sock].uid",
      "status.running",
      "status.status",
    ]);
  });

  it("RAM blocks without a name, of passed-through devices, are compared by size", () => {
    const unnamed = (size: number) => ({ name: "", size });
    const add = (machine: Machine, ...sizes: number[]) => {
      machine.memory.blocks.push(...sizes.map(unnamed));
    };
    const of = (...sizes: number[]) => {
      const machine = machineOf();
      add(machine, ...sizes);
      return machine;
    };
    const paths = (old: Machine, next: Machine) => compareMachines(old, next).differences.map(({ path }) => path);
    expect(paths(of(8192, 8192, 4096), of(8192, 8192, 4096))).toEqual([]);
    expect(paths(of(8192, 8192, 4096), of(8192, 4096))).toEqual(["memory.blocks[unnamed[1] of 8192 bytes]"]);
  });

  it("a switch that only a newer QEMU has may be off, and not on; between two of one version neither", () => {
    const withSwitch = (version: string, value: boolean) => (machine: Machine) => {
      machine.qemu.version = version;
      for (const { properties } of machine.qom.slice(1, 2)) properties["new-thing"] = value;
    };
    expect(found(withSwitch("11.1.3", false))).toEqual([]);
    expect(found(withSwitch("11.1.3", true))).toEqual(["qom[/machine/unattached/ICH9-LPC[0]].properties.new-thing"]);
    expect(found(withSwitch("10.0.2", false))).toEqual(["qom[/machine/unattached/ICH9-LPC[0]].properties.new-thing"]);
  });

  it("a part that is missing is one difference", () => {
    const added = (machine: Machine) =>
      void machine.qom.push(
        { path: "/machine/peripheral/nic", type: "e1000", properties: { netdev: "n0" } },
        { path: "/machine/peripheral/nic/bus", type: "bus", properties: { name: "b" } },
      );
    expect(found(added)).toEqual(["qom[/machine/peripheral/nic]"]);
    expect(found(() => {}, machineOf(added))).toEqual(["qom[/machine/peripheral/nic]"]);
  });
});
