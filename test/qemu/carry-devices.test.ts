// Devices that were plugged in and unplugged since the start: the new QEMU has the same ones, in the same places.
import { closeSync, openSync, readdirSync, readlinkSync, statSync, writeSync } from "node:fs";
import { afterEach, expect, it } from "vitest";
import type { Qmp } from "../../src/qemu/qmp/client.ts";
import type { UpdateReport } from "../../src/qemu/update/options.ts";
import { updateVm } from "../../src/qemu/update/update.ts";
import { describeQemu, type QemuPaths } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { ask, endAll, startUpdatable, type Updatable } from "./update-support.ts";

afterEach(endAll);

function human(qmp: Qmp, line: string): Promise<string> {
  return qmp.execute("human-monitor-command", { "command-line": line });
}

const ways = [
  ["10.0", ["11.1", "10.0"], "cpr-transfer"],
  ["11.1", ["11.1"], "cpr-exec"],
] as const;

/** Updates from one version to the next, and looks each time. */
async function updateAlong(
  vm: Updatable,
  qemu: QemuPaths<"10.0" | "11.1">,
  [, later, mode]: (typeof ways)[number],
  look: (report: UpdateReport) => Promise<void>,
): Promise<void> {
  for (const version of later) {
    const report = await updateVm({ qmp: vm.qmp }, { qemu: qemu[version], mode, stateDir: vm.stateDir });
    expect(report.comparison.before?.differences).toEqual([]);
    expect(report.comparison.after?.differences).toEqual([]);
    await look(report);
  }
  await vm.serial.waitForMore(5, 20_000);
  assertContiguous(vm.serial);
}

/** Writes into every memfd of 16 MiB of a QEMU. */
function fillDimms(pid: number): void {
  for (const name of readdirSync(`/proc/${pid}/fd`)) {
    const path = `/proc/${pid}/fd/${name}`;
    // Some are open for a moment only, such as that of a monitor's client.
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat?.size !== 16 << 20 || !readlinkSync(path).startsWith("/memfd:")) continue;
    const file = openSync(path, "r+");
    writeSync(file, Buffer.alloc(4096, "mmid"), 0, 4096, 0);
    closeSync(file);
  }
}

/** Unplugs a device that needs no word of the guest. */
async function unplug(qmp: Qmp, id: string): Promise<void> {
  const since = qmp.lastEventSeq();
  await qmp.execute("device_del", { id });
  await qmp.waitForEvent(({ name, data }) => name === "DEVICE_DELETED" && data["device"] === id, { since });
}

/** What was added, in the order in which it is. */
const onI440fx: readonly Record<string, unknown>[] = [
  { driver: "virtio-blk-pci", id: "b1", drive: "d0", bus: "br1", addr: "0x3", serial: "XY", "num-queues": 2 },
  { driver: "virtio-blk-pci", drive: "d1", addr: "0x10", iothread: "io0" },
  { driver: "virtio-scsi-pci", id: "s2" },
  { driver: "scsi-hd", id: "h1", drive: "d2", bus: "s1.0", "scsi-id": 3, lun: 5, wwn: 5764824129059291 },
  { driver: "scsi-hd", drive: "d3", bus: "s2.0" },
  { driver: "scsi-cd", id: "cd2", bus: "s2.0" },
  { driver: "virtio-net-pci", id: "nic1", mac: "52:54:00:00:00:09", romfile: "" },
  { driver: "e1000", id: "nic2" },
  { driver: "usb-storage", id: "us", drive: "d4", bus: "xhci.0", port: "3" },
  { driver: "usb-hub", id: "hub", bus: "xhci.0", port: "4" },
  { driver: "usb-mouse", id: "mouse", bus: "xhci.0", port: "4.2" },
  { driver: "usb-kbd", bus: "xhci.0" },
  { driver: "virtserialport", id: "port", bus: "vs.0", name: "org.x", nr: 7 },
  { driver: "virtserialport", bus: "vs.0", name: "org.y" },
  { driver: "virtio-rng-pci", id: "rng" },
  { driver: "virtio-balloon-pci", id: "bal" },
  { driver: "i6300esb" },
  { driver: "qemu64-x86_64-cpu", id: "cpu1", "socket-id": 1, "core-id": 0, "thread-id": 0 },
  { driver: "qemu64-x86_64-cpu", "socket-id": 3, "core-id": 0, "thread-id": 0 },
];

describeQemu("an update carries", ["10.0", "11.1"], (qemu) => {
  for (const way of ways) {
    const name = [way[0], ...way[1]].join(" -> ");
    it(`devices of all kinds that were plugged in: ${name}`, async () => {
      const disks = Array.from({ length: 5 }, (_, index) => [
        "-blockdev",
        `driver=null-co,node-name=d${index},size=1048576`,
      ]).flat();
      const vm = await startUpdatable({
        machine: "pc-i440fx-10.0",
        accel: "tcg",
        qemu: qemu[way[0]],
        extraArgs: () => [
          ...["-smp", "1,sockets=4,maxcpus=4", ...disks, "-object", "iothread,id=io0"],
          ...["-device", "pci-bridge,id=br1,chassis_nr=1", "-device", "qemu-xhci,id=xhci"],
          ...["-device", "virtio-serial-pci,id=vs", "-device", "virtio-scsi-pci,id=s1"],
        ],
      });
      await ask(vm, async (qmp) => {
        for (const device of onI440fx) await qmp.execute("device_add", device);
      });
      let isFirst = true;
      await updateAlong(vm, qemu, way, async ({ carried }) => {
        // From then on they are on the command line.
        expect(carried.filter(({ what }) => what.endsWith("plugged in since the start"))).toHaveLength(
          isFirst ? onI440fx.length : 0,
        );
        isFirst = false;
      });
      await ask(vm, async (qmp) => {
        // As before: what needs no word of the guest goes at once.
        for (const id of ["h1", "us", "mouse", "port"]) await unplug(qmp, id);
      });
    });

    it(`devices that were unplugged, by id and without one, and what stays keeps its place: ${name}`, async () => {
      const json = (device: Record<string, unknown>) => ["-device", JSON.stringify(device)];
      const vm = await startUpdatable({
        machine: "pc-q35-10.0",
        accel: "tcg",
        qemu: qemu[way[0]],
        extraArgs: () => [
          ...["-blockdev", "driver=null-co,node-name=d1"],
          ...[
            "-device",
            "qemu-xhci,id=xhci,p2=8",
            "-device",
            "virtio-serial-pci,id=vs",
            "-device",
            "virtio-scsi-pci,id=s1",
          ],
          ...["-device", "usb-tablet", "-device", "usb-kbd,id=kbd", "-device", "usb-mouse,id=mouse"],
          ...["-device", "virtserialport,name=org.a", "-device", "virtserialport,name=org.b"],
          ...json({ driver: "scsi-cd" }),
          ...json({ driver: "scsi-hd", drive: "d1", wwn: 5764824129059291 }),
          ...json({ driver: "usb-wacom-tablet", id: "wacom" }),
        ],
      });
      const places = () =>
        ask(vm, async (qmp) => {
          const tree = await human(qmp, "info qtree");
          return {
            usb: (await human(qmp, "info usb")).replace(/Device \d+\.\d+/g, "Device"),
            numbers: tree.match(/(?<=^ +)(nr|scsi-id|lun|name|drive) = .*$/gm),
          };
        });
      await ask(vm, async (qmp) => {
        const isNameless = ({ name }: { readonly name: string }) => name.startsWith("device[");
        const nameless = (await qmp.execute("qom-list", { path: "/machine/peripheral-anon" })).filter(isNameless);
        // The tablet, the first port, the first drive.
        for (const type of ["usb-tablet", "virtserialport", "scsi-cd"]) {
          const one = nameless
            .filter((each) => each.type === `child<${type}>`)
            .sort((a, b) => (a.name < b.name ? -1 : 1))[0];
          const since = qmp.lastEventSeq();
          await qmp.execute("device_del", { id: `/machine/peripheral-anon/${one?.name}` });
          await qmp.waitForEvent((event) => event.name === "DEVICE_DELETED", { since });
        }
        for (const id of ["kbd", "wacom"]) await unplug(qmp, id);
        // The same id, another device.
        await qmp.execute("device_add", { driver: "usb-mouse", id: "kbd", port: "7" });
      });
      const before = await places();
      await updateAlong(vm, qemu, way, async () => {
        expect(await places()).toEqual(before);
      });
      await ask(vm, (qmp) => unplug(qmp, "mouse"));
    });

    it(`memory that was plugged in, and what was set in devices: ${name}`, async () => {
      const vm = await startUpdatable({
        machine: "pc-q35-10.0",
        accel: "tcg",
        qemu: qemu[way[0]],
        extraArgs: () => [
          ...["-m", "32M,slots=4,maxmem=512M", "-device", "virtio-balloon-pci,id=bal"],
          ...["-object", "memory-backend-memfd,id=vm0,size=128M,share=on"],
          ...["-device", "virtio-mem-pci,id=vmem,memdev=vm0,requested-size=0"],
          ...["-object", "memory-backend-memfd,id=m0,size=16M,share=on", "-device", "pc-dimm,memdev=m0,id=dimm0"],
        ],
      });
      await ask(vm, async (qmp) => {
        const backend = { "qom-type": "memory-backend-memfd", id: "m9", size: 16 << 20, share: true };
        await qmp.execute("object-add", backend);
        await qmp.execute("device_add", { driver: "pc-dimm", id: "dimm9", memdev: "m9" });
        await qmp.execute("qom-set", { path: "/machine/peripheral/vmem", property: "requested-size", value: 64 << 20 });
        const interval = { property: "guest-stats-polling-interval", value: 3 };
        await qmp.execute("qom-set", { path: "/machine/peripheral/bal", ...interval });
      });
      fillDimms(vm.pid);
      const look = () =>
        ask(vm, async (qmp) => ({
          // At 4 GiB is the virtio-mem, behind it the two DIMMs.
          content: (await human(qmp, "xp /4xw 0x108000000")).replace(/^.*: /, ""),
          further: (await human(qmp, "xp /4xw 0x109000000")).replace(/^.*: /, ""),
          devices: await qmp.execute("query-memory-devices"),
          interval: await qmp.execute("qom-get", {
            path: "/machine/peripheral/bal",
            property: "guest-stats-polling-interval",
          }),
        }));
      const before = await look();
      expect(JSON.stringify(before)).toContain('"dimm9"');
      expect([before.content, before.further].join()).toMatch(/0x64696d6d.*0x64696d6d/s);
      await updateAlong(vm, qemu, way, async () => {
        expect(JSON.parse(JSON.stringify(await look()).replaceAll('"hotplugged":false', '"hotplugged":true'))).toEqual(
          JSON.parse(JSON.stringify(before).replaceAll('"hotplugged":false', '"hotplugged":true')),
        );
      });
    });
  }
});
