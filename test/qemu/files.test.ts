// Files that real QEMU makes: a snapshot in a qcow2 image, a volume that is larger than the stream, and captures of a
// migration with postcopy, of one direction and of both.

import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { openSource, unwrap } from "../../src/files/index.ts";
import { diffMigrations, readMigration, readMigrationBytes } from "../../src/migration/index.ts";
import { connectQmp } from "../../src/qemu/index.ts";
import { be32, bytes, repeat } from "../migration/build.ts";
import { cacheDir } from "../support/cache-dir.ts";
import { cprkit } from "../support/cli.ts";
import { describeQemu } from "../support/qemu.ts";
import { privateDir, startVm } from "../support/vm.ts";

const imageTool = join(cacheDir(), "qemu-img/qemu-img");

describeQemu("files that QEMU makes", ["11.1"], (qemu) => {
  const machine = { qemu: qemu["11.1"], machine: "pc-q35-10.0", accel: "tcg", guest: "none" } as const;

  test("a snapshot in a qcow2 image is the stream that QEMU sends", async () => {
    if (!existsSync(imageTool)) {
      console.warn(`skipped: ${imageTool} is missing: run "npm run qemu"`);
      return;
    }
    const dir = privateDir();
    const image = join(dir, "disk.qcow2");
    execFileSync(imageTool, ["create", "-q", "-f", "qcow2", image, "64M"]);
    const drive = ["-drive", `if=none,id=d,file=${image}`, "-device", "virtio-blk-pci,drive=d", "-S"];
    const vm = await startVm({ ...machine, dir, extraArgs: drive });
    const qmp = await connectQmp(vm.qmpPath, { waitMs: 10_000 });
    const saved = join(dir, "saved.mig");
    await qmp.execute("human-monitor-command", { "command-line": "savevm before" });
    await qmp.execute("human-monitor-command", { "command-line": "savevm after" });
    await qmp.execute("migrate", { uri: `file:${saved}` });
    for (let status = ""; status !== "completed"; await delay(20)) {
      status = ((await qmp.execute("query-migrate")) as { status?: string }).status ?? "";
    }
    await qmp.close();
    await vm.kill();

    const list = JSON.parse(cprkit(["inspect", image, "--json"]).stdout);
    expect(list.snapshots.map(({ name }: { name: string }) => name)).toEqual(["before", "after"]);
    const input = openSource(image);
    const { source, wrapping } = await unwrap(input, { snapshot: "after" });
    const migration = await readMigration(source);
    input.close();
    expect(wrapping).toMatchObject([{ kind: "qcow2", snapshot: { name: "after" } }]);
    expect(migration).toMatchObject({ complete: true, stopped: undefined, problems: [], trailing: undefined });
    // The same machine, without clocks: the guest stands still.
    const other = readMigrationBytes(new Uint8Array(readFileSync(saved)));
    expect(diffMigrations(migration, other).filter(({ section }) => section !== "timer")).toEqual([]);

    // A volume as a storage has it: the stream, and then what was there before.
    truncateSync(saved, 64 << 20);
    const shown = cprkit(["inspect", saved]);
    expect(shown).toMatchObject({ code: 0, stderr: "" });
    expect(shown.stdout).toMatch(/^[\d,]+ bytes follow the stream$/m);
  }, 60_000);

  test("a sparse save of libvirt: its header, and mapped-ram behind it", async () => {
    const dir = privateDir();
    const vm = await startVm({ ...machine, dir, extraArgs: ["-S"] });
    const qmp = await connectQmp(vm.qmpPath, { waitMs: 10_000 });
    const saved = join(dir, "vm.save");
    // As libvirt does it: the header with the XML first, room up to where QEMU begins.
    const xml = "<domain type='qemu'><name>vm</name></domain>\0";
    const words = [2, xml.length, 0, 6, 0].map((word) => be32(word).reverse());
    writeFileSync(saved, bytes("LibvirtQemudSave", words, repeat(0, 56), xml));
    const capabilities = [{ capability: "mapped-ram", state: true }];
    await qmp.execute("migrate-set-capabilities", { capabilities });
    await qmp.execute("migrate", { uri: `file:${saved},offset=4096` });
    for (let status = ""; status !== "completed"; await delay(20)) {
      status = ((await qmp.execute("query-migrate")) as { status?: string }).status ?? "";
    }
    await qmp.close();
    await vm.kill();
    const { stdout, stderr, code } = cprkit(["inspect", saved, "--json"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const { ram, ...shown } = JSON.parse(stdout);
    expect(shown).toMatchObject({
      complete: true,
      offset: 4096,
      problems: [],
      wrapping: [{ kind: "libvirt-save", format: "sparse", wasRunning: false }, { kind: "bytes-before" }],
    });
    expect(ram.mappedRam).toBe(true);
    expect(ram.pages).toBeGreaterThan(10);
  }, 60_000);

  test("a capture of a migration with postcopy, and one of both directions", async () => {
    const dir = privateDir();
    const source = await startVm({ ...machine, dir: privateDir() });
    const main = join(dir, "main");
    const destination = await startVm({ ...machine, dir, incoming: ["defer"] });
    const [from, to] = [
      await connectQmp(source.qmpPath, { waitMs: 10_000 }),
      await connectQmp(destination.qmpPath, { waitMs: 10_000 }),
    ];
    const capabilities = [{ capability: "postcopy-ram", state: true }];
    try {
      for (const qmp of [from, to]) await qmp.execute("migrate-set-capabilities", { capabilities });
    } catch (error) {
      // A kernel may keep userfaultfd for itself.
      if (!/userfault|Postcopy is not supported/i.test(String(error))) throw error;
      console.warn(`skipped: ${String(error)}`);
      return;
    }
    await from.execute("migrate-set-parameters", { "max-bandwidth": 1_000_000, "max-postcopy-bandwidth": 0 });
    await to.execute("migrate-incoming", { uri: `unix:${main}` });
    const [forth, back]: [Buffer[], Buffer[]] = [[], []];
    const between = createServer((one) => {
      const other = connect(main);
      const pass = (here: typeof one, there: typeof one, kept: Buffer[]) => {
        here.on("data", (chunk) => {
          kept.push(chunk);
          there.write(chunk);
        });
        here.on("end", () => there.end());
        here.on("error", () => there.destroy());
      };
      pass(one, other, forth);
      pass(other, one, back);
    });
    const path = join(dir, "between");
    await new Promise<void>((resolve) => between.listen(path, resolve));
    await from.execute("migrate", { uri: `unix:${path}` });
    await from.execute("migrate-start-postcopy");
    for (let status = ""; status !== "completed"; await delay(20)) {
      status = ((await from.execute("query-migrate")) as { status?: string }).status ?? "";
      if (status === "failed") throw new Error("the migration failed");
    }
    await Promise.all([from.close(), to.close(), source.kill(), destination.kill()]);
    between.close();

    const stream = new Uint8Array(Buffer.concat(forth));
    const migration = readMigrationBytes(stream);
    expect(migration).toMatchObject({ complete: true, stopped: undefined, problems: [], pageSizeStated: true });
    const names = migration.commands.map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining(["POSTCOPY_ADVISE", "PACKAGED", "POSTCOPY_LISTEN", "POSTCOPY_RUN"]));
    const packaged = migration.sections.filter((section) => section.packaged);
    expect(packaged.map(({ name }) => name)).toEqual(expect.arrayContaining(["timer", "cpu", "globalstate"]));
    const answers = cprkit(["inspect", write(dir, "back", back)]);
    expect(answers.stderr).toContain("the return path of a migration");
    expect(answers.code).toBe(3);
    // As a capture of both directions has them between two sections.
    const at = migration.sections[1]?.offset ?? 0;
    const both = Buffer.concat([stream.subarray(0, at), ...back, stream.subarray(at)]);
    const mixed = await readMigration(new Uint8Array(both));
    expect(mixed.sections.map(({ name }) => name)).toEqual(migration.sections.map(({ name }) => name));
    expect(mixed.problems.map(({ message }) => message).join()).toContain("answers of the return path");
  }, 60_000);
});

function write(dir: string, name: string, chunks: readonly Buffer[]): string {
  const path = join(dir, name);
  writeFileSync(path, Buffer.concat(chunks));
  return path;
}
