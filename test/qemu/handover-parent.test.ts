// A VM whose parent passed every fd by number, as libvirt does it: the monitor, a tap, a disk and a log in fd sets.
import { execFileSync } from "node:child_process";
import { lstatSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { libc } from "../../src/linux/ffi/koffi.ts";
import { listenUnix } from "../../src/linux/index.ts";
import { reportVmFds } from "../../src/qemu/fds/report.ts";
import { connectQmp } from "../../src/qemu/qmp/client.ts";
import { updateVm } from "../../src/qemu/update/update.ts";
import { expectAsManyFds } from "../support/fds.ts";
import { describeQemu, usableAccel } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { diskIo, endAll, startUpdatable, type Updatable } from "./update-support.ts";

afterEach(endAll);

describeQemu("a parent's fds", ["10.0", "11.1"], (qemu) => {
  it("go along through updates there and back", async (context) => {
    const tap = `cprkp${process.pid % 100_000}`;
    const vm = await start(qemu["10.0"], tap).catch((error: unknown) => {
      if (error instanceof Error && error.message.startsWith("no tap")) context.skip(error.message);
      throw error;
    });
    const interfaceIndex = () => readFileSync(`/sys/class/net/${tap}/ifindex`, "utf8");
    const look = () => [interfaceIndex(), lstatSync(vm.qmp).ino];
    const before = look();
    for (const [at, version] of (["11.1", "10.0"] as const).entries()) {
      await expectAsManyFds(async () => {
        const { warnings, carried } = await updateVm({ qmp: vm.qmp }, { qemu: qemu[version], stateDir: vm.stateDir });
        expect(warnings.join("\n")).not.toMatch(/fdset|differs/);
        expect(carried.map(({ subject }) => subject).sort()).toEqual([
          ...["cprkit/chardev/charmonitor", "cprkit/fdset/1", "cprkit/fdset/2", "cprkit/netdev/hostnet0"],
        ]);
      });
      expect(look()).toEqual(before);
      expect(await diskIo(vm, `write -P ${at + 1} ${at * 512} 512`)).toBe("");
      expect(readFileSync(join(vm.dir, "disk.raw")).subarray(at * 512, (at + 1) * 512)).toEqual(
        Buffer.alloc(512, at + 1),
      );
    }
    const qmp = await connectQmp(vm.qmp, { timeoutMs: 5_000 });
    const sets = await qmp.execute("query-fdsets");
    await qmp.close();
    const told = sets.map((set) => [set["fdset-id"], set.fds.map(({ opaque }) => opaque)]);
    expect(told.sort()).toEqual([
      [1, ["disk, the first"]],
      [2, ["log"]],
    ]);
    const { fds } = await reportVmFds({ qmp: vm.qmp });
    const handed = fds.flatMap(({ fate, name = "" }) => (fate === "handed" ? [name] : []));
    expect(handed.sort()).toEqual([
      ...["cprkit/chardev/charmonitor", "cprkit/fdset/1", "cprkit/fdset/2", "cprkit/netdev/hostnet0"],
    ]);
    await vm.serial.waitForMore(3, 10_000);
    assertContiguous(vm.serial);
  });
});

async function start(qemu: string, tap: string): Promise<Updatable> {
  return startUpdatable({
    qemu,
    machine: "pc-q35-10.0",
    accel: await usableAccel(qemu),
    given: (dir) => {
      writeFileSync(join(dir, "disk.raw"), new Uint8Array(1 << 20));
      const [disk, log] = [openSync(join(dir, "disk.raw"), "r+"), openSync(join(dir, "log"), "a")];
      return [listenUnix(join(dir, "qmp.sock")).fd, disk, log, openTap(tap)];
    },
    rewrite: (args) => [
      ...args.filter((word, at) => word !== "-qmp" && args[at - 1] !== "-qmp"),
      ...["-chardev", "socket,id=charmonitor,fd=3,server=on,wait=off"],
      ...["-mon", "chardev=charmonitor,id=monitor,mode=control"],
      ...["-add-fd", "set=1,fd=4,opaque=disk,, the first", "-add-fd", "set=2,fd=5,opaque=log"],
      ...["-blockdev", JSON.stringify({ driver: "file", filename: "/dev/fdset/1", "node-name": "storage0" })],
      ...["-blockdev", JSON.stringify({ driver: "raw", file: "storage0", "node-name": "disk0" })],
      ...["-device", "virtio-blk-pci,drive=disk0,id=virtio-disk0,share-rw=on"],
      ...["-chardev", "file,id=log,path=/dev/fdset/2,append=on", "-serial", "chardev:log"],
      ...["-netdev", JSON.stringify({ type: "tap", fd: "6", id: "hostnet0" })],
      ...["-device", "virtio-net-pci,netdev=hostnet0,id=net0"],
    ],
  });
}

/** A new tap interface, up, as QEMU would open it. */
function openTap(name: string): number {
  const request = new Uint8Array(40);
  request.set(Buffer.from(name));
  const [tap, noPacketInformation, headers] = [0x0002, 0x1000, 0x4000];
  new DataView(request.buffer).setUint16(16, tap | noPacketInformation | headers, true);
  try {
    const fd = openSync("/dev/net/tun", "r+");
    const tunSetIff = 0x400454ca;
    if (libc().ioctl(fd, tunSetIff, request) < 0) throw new Error("refused");
    execFileSync("ip", ["link", "set", name, "up"], { stdio: "ignore" });
    return fd;
  } catch (cause) {
    throw new Error("no tap can be made here", { cause });
  }
}
