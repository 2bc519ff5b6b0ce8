// No write that the guest was told is on the disk is lost: a Linux guest writes numbered blocks, each with fsync, on several
// disks at once, through four updates in a row, with CPRKIT_LONG=1 through ten.
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { connectQmp } from "../../src/qemu/qmp/client.ts";
import { updateVm } from "../../src/qemu/update/update.ts";
import type { CprModeName } from "../../src/qemu/vm/binary.ts";
import { cacheDir } from "../support/cache-dir.ts";
import { type CprQemu, describeQemu } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { endAll, startUpdatable, type Updatable } from "./update-support.ts";

afterEach(endAll);

interface Disk {
  /** As the guest calls it. */
  readonly name: string;
  readonly format: "raw" | "qcow2";
  /** Options of the file's node. */
  readonly file: string;
  /** -device, without the drive. */
  readonly device: string;
}

const virtio: readonly Disk[] = [
  { name: "vda", format: "raw", file: "aio=native,cache.direct=on", device: "virtio-blk-pci,iothread=io0" },
  { name: "vdb", format: "qcow2", file: "aio=threads", device: "virtio-blk-pci" },
  { name: "sda", format: "qcow2", file: "aio=io_uring,cache.direct=on", device: "scsi-hd,bus=scsi0.0,scsi-id=1" },
  { name: "sdb", format: "raw", file: "aio=threads", device: "scsi-hd,bus=scsi0.0,scsi-id=2" },
];

const nvme: readonly Disk[] = [
  { name: "nvme0n1", format: "qcow2", file: "aio=threads", device: "nvme,serial=one" },
  { name: "vda", format: "qcow2", file: "aio=native,cache.direct=on", device: "virtio-blk-pci,iothread=io0" },
];

const imageTool = join(cacheDir(), "qemu-img/qemu-img");

function image(dir: string, { name, format }: Disk): string {
  return join(dir, `${name}.${format}`);
}

function argumentsOf(dir: string, disks: readonly Disk[]): string[] {
  for (const disk of disks) {
    execFileSync(imageTool, ["create", "-q", "-f", disk.format, image(dir, disk), "128M"], { stdio: "ignore" });
  }
  return [
    ["-object", "iothread,id=io0", "-device", "virtio-scsi-pci,id=scsi0,iothread=io0"],
    ...disks.map((disk) => {
      const { name, format, file, device } = disk;
      const direct = file.includes("cache.direct") ? ",cache.direct=on" : "";
      return [
        ...["-blockdev", `driver=file,node-name=${name}-file,filename=${image(dir, disk)},${file}`],
        ...["-blockdev", `driver=${format},node-name=${name}-node,file=${name}-file${direct}`],
        ...["-device", `${device},drive=${name}-node,id=${name}`],
      ];
    }),
  ].flat();
}

/** The highest number that the guest was told is on the disk; each came after the one before. */
function acknowledged(vm: Updatable, { name }: Disk): number {
  const numbers = [...vm.serial.text().matchAll(new RegExp(`^W ${name} (\\d+)$`, "gm"))].map(([, text]) =>
    Number(text),
  );
  expect(numbers).toEqual(numbers.map((_, index) => index));
  return numbers.length - 1;
}

/** Ends QEMU as an operator does, so that it closes its images. */
async function quit(vm: Updatable): Promise<void> {
  const qmp = await connectQmp(vm.qmp);
  await qmp.execute("quit").catch(() => undefined);
  await qmp.closed;
  await expect.poll(() => vm.qemus(), { timeout: 20_000 }).toEqual([]);
}

function contentOf(dir: string, disk: Disk): Buffer {
  const path = image(dir, disk);
  if (disk.format === "raw") return readFileSync(path);
  execFileSync(imageTool, ["convert", "-O", "raw", path, `${path}.raw`]);
  return readFileSync(`${path}.raw`);
}

async function run(qemu: Record<CprQemu, string>, how: Journey): Promise<void> {
  const { disks, versions, mode } = how;
  const [first = "11.1", ...later] = versions;
  const vm = await startUpdatable({
    ...{ qemu: qemu[first], machine: "pc-q35-10.0", accel: "tcg" },
    linux: `tick_us=50000 disks=${disks.map(({ name }) => name).join(",")}`,
    extraArgs: (dir) => argumentsOf(dir, disks),
  });
  for (const disk of disks) await vm.serial.waitForText(`W ${disk.name} 3`, 60_000);
  for (const version of later) {
    const before = disks.map((disk) => acknowledged(vm, disk));
    await updateVm({ qmp: vm.qmp }, { qemu: qemu[version], mode, stateDir: vm.stateDir });
    for (const [index, disk] of disks.entries()) {
      await vm.serial.waitForText(`W ${disk.name} ${(before[index] ?? 0) + 2}`, 60_000);
    }
  }
  expect(vm.serial.text()).not.toContain("WRITING FAILED");
  assertContiguous(vm.serial);
  await quit(vm);
  let written = 0;
  const found = new Set<string>();
  for (const disk of disks) {
    const content = contentOf(vm.dir, disk);
    // Which of two SCSI disks is sda depends on which one the guest has found first.
    const name = /^block 0 of (\w+)\n/.exec(content.toString("latin1", 0, 64))?.[1] ?? "none";
    found.add(name);
    const last = acknowledged(vm, { ...disk, name });
    for (let number = 0; number <= last; number++) {
      const text = `block ${number} of ${name}\n`;
      expect(content.toString("latin1", number * 4096, number * 4096 + text.length)).toBe(text);
    }
    written += last + 1;
    if (disk.format !== "qcow2") continue;
    const check = spawnSync(imageTool, ["check", image(vm.dir, disk)], { encoding: "utf8" });
    expect(check.status, check.stdout + check.stderr).toBe(0);
  }
  expect([...found].sort()).toEqual(disks.map(({ name }) => name).sort());
  expect(written).toBeGreaterThan(later.length * disks.length * 2);
}

interface Journey {
  readonly disks: readonly Disk[];
  readonly versions: readonly CprQemu[];
  readonly mode: CprModeName;
}

const updates = process.env["CPRKIT_LONG"] === "1" ? 10 : 4;

describeQemu(
  "no acknowledged write is lost",
  ["10.0", "11.1"],
  (qemu) => {
    it.runIf(existsSync(imageTool))(
      "virtio-blk and virtio-scsi, raw and qcow2, native, threads and io_uring: updates there and back",
      () => {
        const versions = Array.from({ length: updates + 1 }, (_, at): CprQemu => (at % 2 === 0 ? "10.0" : "11.1"));
        return run(qemu, { disks: virtio, versions, mode: "cpr-transfer" });
      },
      240_000,
    );

    it.runIf(existsSync(imageTool))(
      "NVMe and virtio-blk: updates of 11.1 by cpr-exec",
      () => run(qemu, { disks: nvme, versions: Array<CprQemu>(updates + 1).fill("11.1"), mode: "cpr-exec" }),
      240_000,
    );
  },
  { linux: true },
);
