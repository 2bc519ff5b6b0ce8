// A disk behind vhost-user, whose backend serves one QEMU at a time (here another QEMU's export): refused, and if it is
// allowed all the same the update is rolled back and the guest keeps its disk; npm run test:long.
import { type ChildProcess, spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { updateVm } from "../../src/qemu/update/update.ts";
import { describeQemu, usableAccel } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { privateDir } from "../support/vm.ts";
import { ask, connectStarting, endAll, startUpdatable, type Updatable } from "./update-support.ts";

let backend: ChildProcess | undefined;

afterEach(async () => {
  await endAll();
  backend?.kill("SIGKILL");
});

describeQemu("a disk behind vhost-user", ["10.0", "11.1"], (qemu) => {
  it("is refused, and rolled back if it is allowed", async () => {
    const dir = privateDir();
    const socket = join(dir, "disk.sock");
    await serveDisk(qemu["10.0"], dir, socket);
    const vm = await startUpdatable({
      qemu: qemu["10.0"],
      machine: "pc-q35-10.0",
      accel: await usableAccel(qemu["10.0"]),
      extraArgs: () => [
        ...["-chardev", `socket,id=disk,path=${socket}`],
        ...["-device", "vhost-user-blk-pci,chardev=disk,id=disk0"],
      ],
    });
    const before = await features(vm);
    const options = { qemu: qemu["11.1"], stateDir: vm.stateDir, timeoutMs: 4_000 };
    await expect(updateVm({ qmp: vm.qmp }, options)).rejects.toThrow(/\[vhost-user\]/);
    const allowed = updateVm({ qmp: vm.qmp }, { ...options, allow: ["vhost-user"] });
    await expect(allowed).rejects.toThrow(/rolled back/);
    await allowed.catch((error: Error) => console.log(error.message));
    expect(vm.qemus()).toEqual([vm.pid]);
    expect(await features(vm)).toEqual(before);
    await vm.serial.waitForMore(20, 10_000);
    assertContiguous(vm.serial);
  }, 120_000);
});

async function serveDisk(program: string, dir: string, path: string): Promise<void> {
  const qmpPath = join(dir, "qmp.sock");
  writeFileSync(join(dir, "disk.img"), new Uint8Array(1 << 20));
  const words = ["-machine", "none", "-nodefaults", "-display", "none", "-qmp", `unix:${qmpPath},server=on,wait=off`];
  backend = spawn(program, words, { stdio: "ignore" });
  const qmp = await connectStarting(qmpPath);
  try {
    await qmp.execute("blockdev-add", { driver: "file", "node-name": "disk", filename: join(dir, "disk.img") });
    const addr = { type: "unix", path };
    await qmp.execute("block-export-add", {
      type: "vhost-user-blk",
      id: "e",
      "node-name": "disk",
      writable: true,
      addr,
    });
  } finally {
    await qmp.close();
  }
}

/** What QEMU knows of the device that the backend serves. */
function features(vm: Updatable): Promise<unknown> {
  return ask(vm, (qmp) => qmp.execute("x-query-virtio-status", { path: "/machine/peripheral/disk0/virtio-backend" }));
}
