// NBD exports: after an update they are at the same address, with the same names, and rolled back they are as before.
import { spawn } from "node:child_process";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { updateVm } from "../../src/qemu/update/update.ts";
import { describeQemu } from "../support/qemu.ts";
import { privateDir } from "../support/vm.ts";
import { ask, connectStarting, endAll, startUpdatable, type Updatable } from "./update-support.ts";

afterEach(endAll);

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 0;
}

/** What another QEMU, as a client, says of commands on the exports. */
async function asClient(qemu: string, server: object, nodes: readonly object[], commands: readonly string[]) {
  const socket = join(privateDir(), "client.sock");
  const child = spawn(
    qemu,
    ["-machine", "none", "-nodefaults", "-display", "none", "-qmp", `unix:${socket},server=on,wait=off`],
    { stdio: "ignore" },
  );
  const exited = new Promise((resolve) => child.once("close", resolve));
  const qmp = await connectStarting(socket);
  try {
    for (const node of nodes) await qmp.execute("blockdev-add", { driver: "nbd", server, ...node });
    const said: string[] = [];
    for (const line of commands) said.push(await qmp.execute("human-monitor-command", { "command-line": line }));
    return said;
  } finally {
    await qmp.close();
    child.kill("SIGKILL");
    await exited;
  }
}

/** A writable export with a bitmap, and one that is not writable. */
async function addExports(vm: Updatable, addr: object): Promise<void> {
  await ask(vm, async (qmp) => {
    await qmp.execute("block-dirty-bitmap-add", { node: "disk0", name: "b0" });
    await qmp.execute("nbd-server-start", { addr, "max-connections": 7 });
    const disk = { type: "nbd", "node-name": "disk0" };
    const more = { name: "disk", description: "what it is for", writable: true, bitmaps: ["b0"] };
    await qmp.execute("block-export-add", { ...disk, id: "e0", ...more });
    await qmp.execute("block-export-add", { ...disk, id: "e1", name: "for readers" });
  });
}

/** The first pattern is there; writes one more. */
async function useExports(qemu: string, server: object, pattern: number): Promise<void> {
  const bitmap = "qemu:dirty-bitmap:b0";
  const nodes = [
    { "node-name": "rw", export: "disk" },
    { "node-name": "bitmap", export: "disk", "x-dirty-bitmap": bitmap, "read-only": true },
    { "node-name": "ro", export: "for readers", "read-only": true },
  ];
  const last = pattern === 0 ? [] : [`qemu-io ro "read -P ${pattern} 1M 64k"`];
  const said = await asClient(qemu, server, nodes, [...last, `qemu-io rw "write -P ${pattern + 1} 1M 64k"`]);
  expect(said.join("")).toBe("");
}

/** With a disk that others may write to. */
function startShared(qemu: string): Promise<Updatable> {
  return startUpdatable({
    machine: "pc-q35-10.0",
    accel: "tcg",
    qemu,
    devices: true,
    extraArgs: () => ["-set", "device.blk0.share-rw=on"],
  });
}

describeQemu("an update gives exports again", ["10.0", "11.1"], (qemu) => {
  const ways = [
    ["10.0", ["11.1", "10.0"], "cpr-transfer", "unix"],
    ["11.1", ["11.1"], "cpr-exec", "inet"],
  ] as const;
  for (const [from, later, mode, kind] of ways) {
    it(`${[from, ...later].join(" -> ")}, ${mode}, ${kind}`, async () => {
      const vm = await startShared(qemu[from]);
      const data = kind === "unix" ? { path: join(vm.dir, "nbd") } : { host: "127.0.0.1", port: `${await freePort()}` };
      await addExports(vm, { type: kind, data });
      const server = { type: kind, ...data };
      await useExports(qemu["10.0"], server, 0);
      for (const [index, version] of later.entries()) {
        const report = await updateVm({ qmp: vm.qmp }, { qemu: qemu[version], mode, stateDir: vm.stateDir });
        expect(report.warnings.filter((each) => each.startsWith("differs"))).toEqual([]);
        expect(report.warnings.filter((each) => each.includes("its clients are cut off"))).toHaveLength(2);
        await useExports(qemu["10.0"], server, index + 1);
      }
    });
  }

  it("and leaves them when it is rolled back", async () => {
    const vm = await startShared(qemu["10.0"]);
    const data = { path: join(vm.dir, "nbd") };
    await addExports(vm, { type: "unix", data });
    await useExports(qemu["10.0"], { type: "unix", ...data }, 0);
    const failed = updateVm(
      { qmp: vm.qmp },
      {
        qemu: qemu["11.1"],
        stateDir: vm.stateDir,
        onStep: (step) => {
          if (step === "before-switch") throw new Error("enough");
        },
      },
    );
    await expect(failed).rejects.toThrow("enough");
    await useExports(qemu["10.0"], { type: "unix", ...data }, 1);
  });
});
