// QEMU as the judge: a stream that was decoded and encoded again is loaded by real QEMU, and the guest counts on.
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { diffMigrations, encodeMigration, type Migration, readMigrationBytes } from "../../src/migration/index.ts";
import { connectQmp, type Qmp } from "../../src/qemu/index.ts";
import { describeQemu, usableAccel } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { privateDir, startVm, type Vm, type VmOptions } from "../support/vm.ts";

async function save(vm: Vm, path: string): Promise<Uint8Array> {
  const qmp = await connectQmp(vm.qmpPath, { waitMs: 10_000 });
  try {
    await vm.serial.waitForCount(20, 20_000);
    await qmp.execute("migrate", { uri: `file:${path}` });
    await untilMigrated(qmp);
    await qmp.execute("quit").catch(() => {});
    await vm.exited;
    return new Uint8Array(readFileSync(path));
  } finally {
    await qmp.close();
  }
}

async function untilMigrated(qmp: Qmp): Promise<void> {
  const end = performance.now() + 30_000;
  for (;;) {
    const { status, ...rest } = (await qmp.execute("query-migrate")) as { status?: string };
    if (status === "completed") return;
    if (status === "failed" || performance.now() > end) throw new Error(`migrate: ${status} ${JSON.stringify(rest)}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function write(migration: Migration, source: Uint8Array, path: string): Promise<void> {
  const fd = openSync(path, "w");
  try {
    let at = 0;
    for await (const chunk of encodeMigration(migration, source)) {
      for (let done = 0; done < chunk.length; ) done += writeSync(fd, chunk, done, chunk.length - done, at + done);
      at += chunk.length;
    }
  } finally {
    closeSync(fd);
  }
}

/** Every device of the stream must have been decoded: what is encoded comes from its state, not from its bytes. */
function expectDecoded(migration: Migration): void {
  expect(migration.stopped).toBeUndefined();
  expect(migration.problems).toEqual([]);
  const devices = migration.sections.filter(({ type }) => type === "full");
  expect(devices.length).toBeGreaterThan(10);
  for (const { name, device } of devices) expect(device?.state, name).toBeDefined();
}

/** The same values, in objects and buffers of their own. */
function copied(migration: Migration): Migration {
  return {
    ...migration,
    sections: migration.sections.map((section) => ({
      ...section,
      device: section.device && {
        ...section.device,
        body: new Uint8Array(section.device.body.length),
        state: structuredClone(section.device.state),
      },
    })),
  };
}

const devices = [
  "-netdev",
  "user,id=n0",
  "-device",
  "virtio-net-pci,netdev=n0",
  "-device",
  "virtio-rng-pci",
  "-device",
  "VGA",
];

describeQemu("a migration stream written again by cprkit", ["10.0", "11.1"], (qemu) => {
  it.each<[string, "10.0" | "11.1", "10.0" | "11.1", string, readonly string[]]>([
    ["10.0 to 10.0", "10.0", "10.0", "pc-q35-10.0", devices],
    ["10.0 to 11.1", "10.0", "11.1", "pc-q35-10.0", devices],
    ["11.1 to 11.1", "11.1", "11.1", "pc-i440fx-11.1", devices],
    ["microvm", "11.1", "11.1", "microvm", []],
  ])("%s: QEMU loads it and the guest counts on", async (_name, from, to, machine, extraArgs) => {
    const dir = privateDir();
    const options: Omit<VmOptions, "qemu"> = {
      machine,
      accel: await usableAccel(qemu[from]),
      guest: "firmware",
      memoryMb: 16,
      extraArgs,
    };
    const source = await startVm({ ...options, qemu: qemu[from] });
    const saved = await save(source, join(dir, "saved.mig"));
    const migration = readMigrationBytes(saved);
    expectDecoded(migration);
    expect(migration.machine).toBe(machine);
    expect(migration.ram?.pages).toBeGreaterThan(0);
    const path = join(dir, "written.mig");
    await write(copied(migration), saved, path);
    const destination = await startVm({ ...options, qemu: qemu[to], incoming: [`file:${path}`] });
    const last = source.serial.counts().at(-1)?.value ?? 0;
    await destination.serial.waitForCount(last + 20, 20_000);
    assertContiguous(source.serial, destination.serial);
    await source.kill();
    await destination.kill();
  });

  it("a value that was changed in the decoded state is what QEMU loads", async () => {
    const dir = privateDir();
    const options: VmOptions = {
      qemu: qemu["10.0"],
      machine: "pc-q35-10.0",
      accel: await usableAccel(qemu["10.0"]),
      guest: "firmware",
      memoryMb: 16,
    };
    const source = await startVm(options);
    const saved = await save(source, join(dir, "saved.mig"));
    const migration = readMigrationBytes(saved);
    const state = migration.sections.find(({ name }) => name === "globalstate")?.device?.state;
    if (state === undefined) throw new Error("the stream has no globalstate");
    // The guest ran; the destination is to believe that it was paused.
    state["runstate"] = Buffer.concat([Buffer.from("paused\0"), Buffer.alloc(25)], 32);
    state["size"] = "paused".length + 1;
    const path = join(dir, "written.mig");
    await write(migration, saved, path);
    const differences = diffMigrations(
      readMigrationBytes(saved),
      readMigrationBytes(new Uint8Array(readFileSync(path))),
    );
    expect(new Set(differences.map(({ section }) => section))).toEqual(new Set(["globalstate"]));
    const destination = await startVm({ ...options, incoming: [`file:${path}`] });
    const qmp = await connectQmp(destination.qmpPath, { waitMs: 10_000 });
    const statusOf = async () => ((await qmp.execute("query-status")) as { status: string }).status;
    await expect.poll(statusOf, { timeout: 10_000 }).toBe("paused");
    await qmp.execute("cont");
    const last = source.serial.counts().at(-1)?.value ?? 0;
    await destination.serial.waitForCount(last + 20, 20_000);
    assertContiguous(source.serial, destination.serial);
    await qmp.close();
    await source.kill();
    await destination.kill();
  });
});
