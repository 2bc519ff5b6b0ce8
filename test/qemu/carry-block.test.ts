// Disks, discs and nodes that were changed since the VM's start: after an update the guest has them as they were before it.
import { copyFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect, it } from "vitest";
import { connectQmp, type Qmp } from "../../src/qemu/qmp/client.ts";
import { updateVm } from "../../src/qemu/update/update.ts";
import { describeQemu } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { privateDir } from "../support/vm.ts";
import { createQcow2, endAll, startUpdatable, type Updatable } from "./update-support.ts";

afterEach(endAll);

type Command = (name: string, args?: Record<string, unknown>) => Promise<unknown>;

async function ask<T>(vm: Updatable, work: (command: Command, qmp: Qmp) => Promise<T>): Promise<T> {
  const qmp = await connectQmp(vm.qmp);
  try {
    return await work((name, args) => qmp.execute(name, args), qmp);
  } finally {
    await qmp.close();
  }
}

const mib = 1 << 20;

/** A disk or drive: how it is given, what is done to it, and which disk is then looked at. */
interface Case {
  readonly what: string;
  readonly args: (dir: string) => readonly string[];
  readonly change: (command: Command, dir: string) => Promise<void>;
  /** The guest's disk, as qemu-io takes it; absent: a disc. */
  readonly disk?: string;
}

const blockdev = (options: object) => ["-blockdev", JSON.stringify(options)];
const rawNode = (name: string, filename: string, more: object = {}) =>
  blockdev({ driver: "raw", "node-name": name, file: { driver: "file", filename }, ...more });
const qcow2Node = (name: string, filename: string, more: object = {}) =>
  blockdev({ driver: "qcow2", "node-name": name, file: { driver: "file", filename }, ...more });

async function untilNoJob(command: Command): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    if (((await command("query-jobs")) as unknown[]).length === 0) return;
    await sleep(10);
  }
  throw new Error("a job does not end");
}

async function untilDone(work: () => Promise<unknown>): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      await work();
      return;
    } catch (error) {
      if (tries === 500) throw error;
      await sleep(10);
    }
  }
}

async function untilReady(command: Command, id: string): Promise<void> {
  for (let tries = 0; tries < 500; tries++) {
    const jobs = (await command("query-jobs")) as { id: string; status: string }[];
    if (jobs.find((job) => job.id === id)?.status === "ready") return;
    await sleep(10);
  }
  throw new Error(`job ${id} does not get ready`);
}

const media: readonly Case[] = [
  {
    what: "another disc in -drive",
    args: (dir) => [
      ...["-drive", `if=none,id=cd1,media=cdrom,readonly=on,format=raw,file=${dir}/one.raw`],
      ...["-device", "ide-cd,drive=cd1,id=ide1,bus=ide.1"],
    ],
    change: async (command, dir) => {
      await command("blockdev-change-medium", { id: "ide1", filename: `${dir}/two.raw`, format: "raw" });
    },
  },
  {
    what: "no disc in -drive any more",
    args: (dir) => [
      ...["-drive", `if=none,id=cd2,media=cdrom,cache=none,aio=native,werror=stop,file=${dir}/one.raw,format=raw`],
      ...["-device", "scsi-cd,drive=cd2,id=sc2"],
    ],
    change: async (command) => void (await command("eject", { id: "sc2", force: true })),
  },
  {
    what: "another disc, by its file, in place of a -blockdev",
    args: (dir) => [
      ...["-blockdev", `driver=raw,node-name=cdn,read-only=on,file.driver=file,file.filename=${dir}/one.raw`],
      ...["-device", "ide-cd,drive=cdn,id=ide3,bus=ide.3"],
    ],
    change: async (command, dir) => {
      await command("blockdev-change-medium", { id: "ide3", filename: `${dir}/two.raw` });
    },
  },
  {
    what: "a node as disc in an empty drive, the tray open",
    args: () => ["-device", "scsi-cd,id=sc3"],
    change: async (command, dir) => {
      const file = { driver: "file", filename: `${dir}/two.raw` };
      await command("blockdev-add", { driver: "raw", "node-name": "late", "read-only": true, file });
      await command("blockdev-open-tray", { id: "sc3" });
      await command("blockdev-insert-medium", { id: "sc3", "node-name": "late" });
    },
  },
  {
    what: "no disc in a -device in JSON, its node removed, the tray open",
    args: (dir) => [
      ...rawNode("cdj", `${dir}/one.raw`, { "read-only": true }),
      ...["-device", JSON.stringify({ driver: "ide-cd", id: "ide4", bus: "ide.4", drive: "cdj" })],
    ],
    change: async (command) => {
      await command("blockdev-open-tray", { id: "ide4" });
      await command("blockdev-remove-medium", { id: "ide4" });
      await command("blockdev-del", { "node-name": "cdj" });
    },
  },
  {
    what: "another floppy",
    args: (dir) => [
      ...["-device", "isa-fdc,id=fdc", "-drive", `if=none,id=fl,file=${dir}/floppy1.raw,format=raw`],
      ...["-device", "floppy,drive=fl,id=floppy0"],
    ],
    change: async (command, dir) => {
      await command("blockdev-change-medium", { id: "floppy0", filename: `${dir}/floppy2.raw`, format: "raw" });
    },
  },
  {
    what: "another disc in -cdrom",
    args: (dir) => ["-cdrom", `${dir}/one.raw`],
    change: async (command, dir) => {
      await command("blockdev-change-medium", { device: "ide2-cd0", filename: `${dir}/two.raw`, format: "raw" });
    },
  },
];

const layers: readonly Case[] = [
  {
    what: "two snapshots, one without a name, of -drive",
    args: (dir) => [
      "-drive",
      `if=none,id=d1,file=${dir}/d1.raw,format=raw,cache=none,aio=native,discard=unmap,detect-zeroes=unmap`,
      ...["-device", "virtio-blk-pci,drive=d1,id=vd1"],
    ],
    change: async (command, dir) => {
      await command("blockdev-snapshot-sync", { device: "d1", "snapshot-file": `${dir}/d1a.qcow2` });
      await command("blockdev-snapshot-sync", { device: "d1", "snapshot-file": `${dir}/d1b.qcow2` });
    },
    disk: "d1",
  },
  {
    what: "a snapshot with a name, of -drive with one",
    args: (dir) => [
      ...["-drive", `if=none,id=d2,file=${dir}/d2.raw,format=raw,node-name=n2,aio=io_uring`],
      ...["-device", "virtio-blk-pci,drive=d2"],
    ],
    change: async (command, dir) => {
      await command("blockdev-snapshot-sync", {
        device: "d2",
        "snapshot-file": `${dir}/d2a.qcow2`,
        "snapshot-node-name": "n2a",
      });
    },
    disk: "d2",
  },
  {
    what: "an active commit over an explicit chain",
    args: (dir) => [
      ...rawNode("base3", `${dir}/d3.raw`),
      ...qcow2Node("top3", `${dir}/top3.qcow2`, { backing: "base3" }),
      ...["-device", "virtio-blk-pci,drive=top3,id=vd3"],
    ],
    change: async (command) => {
      await command("block-commit", { "job-id": "j3", device: "top3" });
      await untilReady(command, "j3");
      await command("job-complete", { id: "j3" });
      await untilNoJob(command);
    },
    disk: "-d /machine/peripheral/vd3/virtio-backend",
  },
  {
    what: "a mirror that was pivoted to",
    args: (dir) => [
      ...["-blockdev", `driver=file,node-name=f4,filename=${dir}/d4.raw,aio=native,cache.direct=on,discard=unmap`],
      ...["-blockdev", "driver=raw,node-name=n4,file=f4,cache.direct=on,discard=unmap"],
      ...["-device", "virtio-blk-pci,drive=n4,id=vd4"],
    ],
    change: async (command, dir) => {
      const cache = { direct: true };
      await command("blockdev-add", { driver: "file", "node-name": "f4t", filename: `${dir}/d4t.raw`, cache });
      await command("blockdev-add", { driver: "raw", "node-name": "n4t", file: "f4t", cache, "detect-zeroes": "on" });
      await command("blockdev-mirror", { "job-id": "j4", device: "n4", target: "n4t", sync: "full" });
      await untilReady(command, "j4");
      await command("job-complete", { id: "j4" });
      await untilNoJob(command);
      await command("blockdev-del", { "node-name": "n4" });
      await command("blockdev-del", { "node-name": "f4" });
    },
    disk: "-d /machine/peripheral/vd4/virtio-backend",
  },
  {
    what: "two disks that have changed places",
    args: (dir) => [
      ...["-blockdev", `driver=raw,node-name=n5,file.driver=file,file.filename=${dir}/d5.raw`],
      ...["-blockdev", `driver=raw,node-name=n6,file.driver=file,file.filename=${dir}/d6.raw`],
      ...["-device", "scsi-hd,drive=n5,id=sd5,lun=5,scsi-id=3", "-device", "scsi-hd,drive=n6,id=sd6,lun=6,scsi-id=3"],
    ],
    change: async (command) => {
      await command("device_del", { id: "sd5" });
      await command("device_del", { id: "sd6" });
      const device = { driver: "scsi-hd", bus: "scsi0.0", "scsi-id": 3 };
      // The first two are gone a little later.
      await untilDone(() => command("device_add", { ...device, id: "sd5", lun: 5, drive: "n6" }));
      await untilDone(() => command("device_add", { ...device, id: "sd6", lun: 6, drive: "n5" }));
    },
    disk: "-d sd5",
  },
  {
    what: "a stream, and an intermediate commit",
    args: (dir) => [
      ...["-blockdev", `driver=raw,node-name=base7,file.driver=file,file.filename=${dir}/d7.raw,read-only=on`],
      ...["-blockdev", `driver=qcow2,node-name=top7,file.driver=file,file.filename=${dir}/top7.qcow2,backing=base7`],
      ...["-device", "virtio-blk-pci,drive=top7,id=vd7"],
      ...rawNode("base8", `${dir}/d8.raw`, { "read-only": true, "auto-read-only": true }),
      ...qcow2Node("mid8", `${dir}/mid8.qcow2`, { backing: "base8", "read-only": true }),
      ...qcow2Node("top8", `${dir}/top8.qcow2`, { backing: "mid8" }),
      ...["-device", "virtio-blk-pci,drive=top8,id=vd8"],
    ],
    change: async (command) => {
      await command("block-stream", { "job-id": "j7", device: "top7" });
      await command("block-commit", { "job-id": "j8", device: "top8", "top-node": "mid8", "base-node": "base8" });
      await untilNoJob(command);
    },
    disk: "-d /machine/peripheral/vd8/virtio-backend",
  },
  {
    what: "a snapshot of -hda",
    args: (dir) => ["-hda", `${dir}/d9.raw`],
    change: async (command, dir) => {
      await command("blockdev-snapshot-sync", { device: "ide0-hd0", "snapshot-file": `${dir}/d9a.qcow2` });
    },
    disk: "ide0-hd0",
  },
  {
    what: "a snapshot of a -blockdev by name, with one below it",
    args: () => [],
    change: async (command, dir) => {
      const overlay = { "snapshot-file": `${dir}/o1.qcow2`, "snapshot-node-name": "disk1" };
      await command("blockdev-snapshot-sync", { "node-name": "disk0", ...overlay });
    },
    disk: "-d /machine/peripheral/blk0/virtio-backend",
  },
];

const nodes: readonly Case[] = [
  {
    what: "nodes that hang nowhere, a throttle filter, one that was removed, one reopened, one resized",
    args: (dir) => [
      ...["-object", "throttle-group,id=tg,x-iops-total=100"],
      ...rawNode("gone", `${dir}/d1.raw`, { "read-only": true }),
      ...rawNode("x1", `${dir}/x1.raw`),
    ],
    change: async (command, dir) => {
      await command("blockdev-del", { "node-name": "gone" });
      const file = { driver: "file", "node-name": "x2f", filename: `${dir}/x2.raw`, locking: "off" };
      await command("blockdev-add", { driver: "raw", "node-name": "x2", offset: 512, size: mib, file });
      await command("blockdev-add", { driver: "throttle", "node-name": "x1t", "throttle-group": "tg", file: "x1" });
      await command("blockdev-add", { driver: "null-co", "node-name": "x3", size: 4 * mib, "read-zeroes": true });
      await command("blockdev-add", { driver: "copy-on-read", "node-name": "x3c", file: "x3" });
      const reopened = {
        driver: "raw",
        "node-name": "x1",
        "detect-zeroes": "on",
        file: { driver: "file", filename: `${dir}/x1.raw` },
      };
      await command("blockdev-reopen", { options: [{ ...reopened, "read-only": true }] }).catch(() => undefined);
      await command("block_resize", { "node-name": "disk1", size: 32 * mib });
    },
  },
];

const plugged: readonly Case[] = [
  {
    what: "a disk that was plugged in, with a snapshot since, and a drive with a disc by its file",
    args: () => [],
    change: async (command, dir) => {
      const file = { driver: "file", filename: `${dir}/p1.raw` };
      await command("blockdev-add", { driver: "raw", "node-name": "p1", file });
      await command("device_add", { driver: "scsi-hd", id: "sp1", bus: "scsi0.0", "scsi-id": 7, lun: 1, drive: "p1" });
      const overlay = { "snapshot-file": `${dir}/p1a.qcow2`, "snapshot-node-name": "p1a" };
      await command("blockdev-snapshot-sync", { "node-name": "p1", ...overlay });
      await command("device_add", { driver: "scsi-cd", id: "sp2", bus: "scsi0.0", "scsi-id": 7, lun: 2 });
      await command("blockdev-change-medium", { id: "sp2", filename: `${dir}/two.raw` });
      const line = `drive_add 0 if=none,id=p3,format=raw,file=${dir}/p3.raw`;
      await command("human-monitor-command", { "command-line": line });
      await command("device_add", { driver: "scsi-hd", id: "sp3", bus: "scsi0.0", "scsi-id": 7, lun: 3, drive: "p3" });
    },
    disk: "-d sp1",
  },
];

const bounds: readonly Case[] = [
  {
    what: "limits of a throttle group, latency histograms, write thresholds, limits that two disks share",
    args: (dir) => [
      ...["-drive", `if=none,id=s1,format=raw,file=${dir}/s1.raw`, "-device", "virtio-blk-pci,drive=s1,id=vs1"],
      ...["-drive", `if=none,id=s2,format=raw,file=${dir}/s2.raw`, "-device", "virtio-blk-pci,drive=s2,id=vs2"],
    ],
    change: async (command) => {
      const limits = { "iops-total": 50, "bps-write": 1_000_000, "bps-write-max": 2_000_000 };
      await command("qom-set", { path: "/objects/tg", property: "limits", value: limits });
      const id = "/machine/peripheral/vs1/virtio-backend";
      await command("block-latency-histogram-set", { id, "boundaries-read": [10, 100], "boundaries-flush": [7] });
      await command("block-set-write-threshold", { "node-name": "f4t", "write-threshold": mib });
      const shared = { bps: 1_000_000, bps_rd: 0, bps_wr: 0, iops: 0, iops_rd: 0, iops_wr: 0, group: "both" };
      for (const device of ["s1", "s2"]) await command("block_set_io_throttle", { device, ...shared });
    },
  },
];

/** Names that QEMU or cprkit generates say nothing. */
const named = (name: unknown) => (/^(#|cprkit-)/.test(String(name)) ? "" : name);

interface Image {
  readonly filename: string;
  readonly format: string;
  readonly "virtual-size": number;
  readonly "backing-image"?: Image;
}

function chain({ filename, format, "virtual-size": size, "backing-image": below }: Image): unknown[] {
  const file = filename.startsWith("json:") ? "json" : filename;
  return [[file, format, size], ...(below === undefined ? [] : chain(below))];
}

/** What the guest has, as QEMU tells it. */
async function look(vm: Updatable): Promise<Record<string, unknown>> {
  return ask(vm, async (_, qmp) => {
    const seen: Record<string, unknown> = {};
    for (const each of await qmp.execute("query-block")) {
      const { inserted } = each;
      seen[`device ${each.device || each.qdev}`] = {
        qdev: each.qdev,
        tray: each["tray_open"],
        node: named(inserted?.["node-name"]),
        chain: inserted === undefined || inserted === null ? [] : chain(inserted["image"] as Image),
        readOnly: inserted?.["ro"],
        cache: inserted?.cache,
        limits: [inserted?.["bps"], inserted?.["iops"], inserted?.["group"]],
      };
    }
    for (const { qdev, stats } of await qmp.execute("query-blockstats")) {
      const bounds = Object.entries(stats).flatMap(([key, value]) =>
        /_latency_histogram$/.test(key) ? [[key, (value as { boundaries: unknown }).boundaries]] : [],
      );
      if (bounds.length > 0) seen[`histograms of ${qdev}`] = Object.fromEntries(bounds);
    }
    seen["throttle group"] = await qmp.execute("qom-get", { path: "/objects/tg", property: "limits" });
    for (const node of await qmp.execute("query-named-block-nodes", { flat: true })) {
      const { "node-name": name = "", drv, ro, file, cache, detect_zeroes } = node;
      if (named(name) === "") continue;
      const about = {
        drv,
        ro,
        threshold: node["write_threshold"],
        direct: cache.direct,
        detect_zeroes,
        size: node.image["virtual-size"],
      };
      seen[`node ${name}`] = { ...about, file: file.startsWith("json:") ? JSON.parse(file.slice(5)) : file };
    }
    return seen;
  });
}

async function diskIo(vm: Updatable, disk: string, line: string): Promise<string> {
  return ask(vm, async (command) =>
    String(await command("human-monitor-command", { "command-line": `qemu-io ${disk} "${line}"` })),
  );
}

function makeFiles(dir: string): void {
  const raw = (name: string, size: number) => {
    writeFileSync(join(dir, `${name}.raw`), name);
    truncateSync(join(dir, `${name}.raw`), size);
  };
  for (const name of ["one", "two"]) raw(name, 4 * mib);
  for (const name of ["floppy1", "floppy2"]) raw(name, 1_474_560);
  for (const name of ["d1", "d2", "d3", "d4", "d4t", "d5", "d6", "d7", "d8", "d9", "x1", "x2", "s1", "s2", "p1", "p3"])
    raw(name, 16 * mib);
}

describeQemu("an update carries disks as they are now", ["10.0", "11.1"], (qemu) => {
  const cases = [...media, ...layers, ...nodes, ...plugged, ...bounds];
  const ways = [
    ["10.0", ["11.1", "10.0"], "cpr-transfer"],
    ["11.1", ["11.1"], "cpr-exec"],
    ["10.0", ["11.1"], "cpr-reboot"],
  ] as const;
  for (const [from, later, mode] of ways) {
    it(`${[from, ...later].join(" -> ")}, ${mode}`, async () => {
      let folder = "";
      const template = privateDir();
      await createQcow2(qemu[from], template);
      const vm = await startUpdatable({
        machine: "pc-q35-10.0",
        accel: "tcg",
        qemu: qemu[from],
        devices: true,
        extraArgs: (dir) => {
          folder = dir;
          makeFiles(dir);
          for (const name of ["top3", "top7", "mid8", "top8"])
            copyFileSync(join(template, "disk.qcow2"), join(dir, `${name}.qcow2`));
          return ["-device", "virtio-scsi-pci,id=scsi0", ...cases.flatMap(({ args }) => args(dir))];
        },
      });
      for (const { what, change } of cases) {
        await ask(vm, (command) => change(command, folder)).catch((error: unknown) => {
          throw new Error(`${what}: ${error}`);
        });
      }
      const disks = cases.flatMap(({ disk }) => disk ?? []);
      for (const [index, disk] of disks.entries()) {
        expect(await diskIo(vm, disk, `write -P ${index + 65} 1M 64k`)).toBe("");
      }
      const before = await look(vm);
      for (const version of later) {
        const report = await updateVm({ qmp: vm.qmp }, { qemu: qemu[version], mode, stateDir: vm.stateDir });
        expect(await look(vm)).toEqual(before);
        expect(report.warnings.filter((each) => each.startsWith("differs"))).toEqual([]);
        for (const [index, disk] of disks.entries()) {
          expect([disk, await diskIo(vm, disk, `read -P ${index + 65} 1M 64k`)]).toEqual([disk, ""]);
        }
      }
      await vm.serial.waitForMore(10, 20_000);
      assertContiguous(vm.serial);
    });
  }
});
