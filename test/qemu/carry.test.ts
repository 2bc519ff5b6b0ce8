// What a VM has that its command line does not say: the new QEMU has it, too.
import { closeSync, openSync, readdirSync, readlinkSync, writeSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { preflight } from "../../src/qemu/preflight/preflight.ts";
import type { Qmp } from "../../src/qemu/qmp/client.ts";
import { updateVm } from "../../src/qemu/update/update.ts";
import type { CprModeName } from "../../src/qemu/vm/binary.ts";
import { describeQemu } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { ask, endAll, fingerprint, startUpdatable, type Updatable } from "./update-support.ts";

afterEach(endAll);

/** A path that one client connects to, and leaves, as soon as somebody listens there. */
function visited(path: string): string {
  const visit = () => {
    const socket = connect(path, () => socket.end());
    socket.on("error", () => setTimeout(visit, 20));
  };
  visit();
  return path;
}

/** Writes into guest RAM, through the file that QEMU has open. */
function fillRam(vm: Updatable): void {
  const fds = `/proc/${vm.pid}/fd`;
  const fd = readdirSync(fds).find((name) => readlinkSync(join(fds, name)).includes("qemu_back_mem"));
  const file = openSync(join(fds, fd ?? "none"), "r+");
  writeSync(file, Buffer.alloc(8 << 20, "what the guest has written "), 0, 8 << 20, 16 << 20);
  closeSync(file);
}

describeQemu("an update carries", ["10.0", "11.1"], (qemu) => {
  const ways = [
    ["10.0", ["11.1", "10.0"], "cpr-transfer"],
    ["10.0", ["11.1"], "cpr-reboot"],
  ] as const;
  for (const [from, later, mode] of ways) {
    it(`guest RAM in a file without a name: ${[from, ...later].join(" -> ")}, ${mode}`, async () => {
      // A folder, as for huge pages: QEMU makes a file in it and removes its name.
      const vm = await startUpdatable({ machine: "pc-q35-10.0", accel: "tcg", qemu: qemu[from], ram: "folder" });
      fillRam(vm);
      const before = await fingerprint(vm);
      for (const version of later) {
        const report = await updateVm({ qmp: vm.qmp }, { qemu: qemu[version], mode, stateDir: vm.stateDir });
        expect(report.command.join(" ")).toMatch(/mem-path=\/proc\/\d+\/fd\/\d+/);
        expect(await fingerprint(vm)).toBe(before);
      }
      await vm.serial.waitForMore(20, 20_000);
      assertContiguous(vm.serial);
    });
  }

  it("cpr-exec refuses guest RAM in a file without a name", async () => {
    const vm = await startUpdatable({ machine: "pc-q35-10.0", accel: "tcg", qemu: qemu["11.1"], ram: "folder" });
    const { findings } = await preflight({ qmp: vm.qmp }, { mode: "cpr-exec" });
    expect(findings.map(({ code }) => code)).toEqual(["memory-file"]);
  });

  it("migration parameters and capabilities, and none of them delays the guest", async () => {
    const vm = await startUpdatable({ machine: "pc-q35-10.0", accel: "tcg", qemu: qemu["10.0"], devices: true });
    const parameters = { "max-bandwidth": 4096, "downtime-limit": 1234, "announce-rounds": 7 };
    await ask(vm, async (qmp) => {
      await qmp.execute("migrate-set-parameters", parameters);
      const capabilities = ["pause-before-switchover", "auto-converge"].map((capability) => ({
        capability,
        state: true,
      }));
      await qmp.execute("migrate-set-capabilities", { capabilities });
    });
    for (const version of ["11.1", "10.0"] as const) {
      const report = await updateVm({ qmp: vm.qmp }, { qemu: qemu[version], stateDir: vm.stateDir });
      // Its state has some 100 kB: at 4 kB a second that would be half a minute.
      expect(report.downtimeMs).toBeLessThan(5_000);
      await ask(vm, async (qmp) => {
        expect(await qmp.execute("query-migrate-parameters")).toMatchObject({ ...parameters, mode: "normal" });
        const on = (await qmp.execute("query-migrate-capabilities")).filter(({ state }) => state);
        expect(on.map(({ capability }) => capability).sort()).toEqual(["auto-converge", "pause-before-switchover"]);
      });
    }
  });

  it("the generation id that the guest has seen, the label of a serial port, a socket that waits for its client", async () => {
    const vm = await startUpdatable({
      machine: "pc-q35-10.0",
      accel: "tcg",
      qemu: qemu["10.0"],
      serialArgs: (dir) => ["-serial", `file:${dir}/serial.log`],
      extraArgs: (dir) => [
        ...["-device", "vmgenid,id=gen,guid=auto"],
        // Without wait=off QEMU waits for its first client.
        ...["-chardev", `socket,id=agent,path=${visited(`${dir}/agent.sock`)},server=on`],
      ],
    });
    const look = () =>
      ask(vm, async (qmp) => ({
        id: (await qmp.execute("query-vm-generation-id")).guid,
        // The monitor by which cprkit watched a new QEMU stays, without a path.
        chardevs: (await qmp.execute("query-chardev"))
          .flatMap(({ label }) => (label === "cprkit-qmp" ? [] : label))
          .sort(),
      }));
    const before = await look();
    expect(before.chardevs).toContain("serial0");
    for (const version of ["11.1", "10.0"] as const) {
      await updateVm({ qmp: vm.qmp }, { qemu: qemu[version], stateDir: vm.stateDir });
      expect(await look()).toEqual(before);
    }
  });

  it("limits of a disk's input and output", async () => {
    const vm = await startUpdatable({ machine: "pc-q35-10.0", accel: "tcg", qemu: qemu["10.0"], devices: true });
    const limits = { bps: 1_000_000, bps_rd: 0, bps_wr: 0, iops: 500, iops_rd: 0, iops_wr: 0, iops_max: 700 };
    await ask(vm, (qmp) =>
      qmp.execute("block_set_io_throttle", { id: "/machine/peripheral/blk0/virtio-backend", ...limits }),
    );
    for (const version of ["11.1", "10.0"] as const) {
      await updateVm({ qmp: vm.qmp }, { qemu: qemu[version], stateDir: vm.stateDir });
      const [disk] = await ask(vm, (qmp) => qmp.execute("query-block"));
      expect(disk?.inserted).toMatchObject(limits);
    }
  });
});

describeQemu("an update carries the run state", ["10.0", "11.1"], (qemu) => {
  it("io-error: 10.0 -> 11.1 -> 10.0, cpr-transfer", async () => {
    // SeaBIOS reads the first sector, in vain.
    const bad = {
      ...{ driver: "blkdebug", "node-name": "bad", image: { driver: "null-co", size: 1 << 20 } },
      "inject-error": [{ event: "none", iotype: "read", errno: 5 }],
    };
    const vm = await startUpdatable({
      ...{ machine: "pc-q35-10.0", accel: "tcg", qemu: qemu["10.0"], firmware: "SeaBIOS" },
      serialArgs: () => [],
      extraArgs: () => [...["-blockdev", JSON.stringify(bad), "-device", "ide-hd,drive=bad,rerror=stop,bus=ide.1"]],
    });
    await untilState(vm, "io-error");
    await updateIn(vm, [qemu["11.1"], qemu["10.0"]], "cpr-transfer", "io-error");
    // The request is tried again, and fails again.
    await ask(vm, (qmp) => qmp.execute("cont"));
    await untilState(vm, "io-error");
  });

  it("guest-panicked: 11.1 -> 11.1, cpr-exec", async () => {
    const extraArgs = () => ["-device", "pvpanic", "-action", "panic=pause"];
    const vm = await startUpdatable({ machine: "pc-q35-10.0", accel: "tcg", qemu: qemu["11.1"], extraArgs });
    await ask(vm, (qmp) => qmp.execute("human-monitor-command", { "command-line": "o /1 0x505 1" }));
    await untilState(vm, "guest-panicked");
    await updateIn(vm, [qemu["11.1"]], "cpr-exec", "guest-panicked");
  });
});

async function updateIn(vm: Updatable, later: readonly string[], mode: CprModeName, state: string): Promise<void> {
  for (const qemu of later) {
    const report = await updateVm({ qmp: vm.qmp }, { qemu, mode, stateDir: vm.stateDir });
    expect(report.runState).toBe(state);
    expect(report.warnings.filter((each) => each.startsWith("differs"))).toEqual([]);
  }
}

async function untilState(vm: Updatable, wanted: string): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    const { status } = await ask(vm, (qmp) => qmp.execute("query-status"));
    if (status === wanted) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`the VM does not become ${wanted}`);
}

describeQemu("an update waits for block jobs", ["10.0", "11.1"], (qemu) => {
  async function withBackup(speed: number): Promise<Updatable> {
    const vm = await startUpdatable({ machine: "pc-q35-10.0", accel: "tcg", qemu: qemu["10.0"], devices: true });
    await ask(vm, async (qmp) => {
      await qmp.execute("blockdev-add", {
        driver: "null-co",
        "node-name": "source",
        size: 8 << 20,
        "read-zeroes": true,
      });
      await qmp.execute("blockdev-add", { driver: "null-co", "node-name": "copy", size: 8 << 20 });
      const job = { "job-id": "j0", device: "source", target: "copy", sync: "full", speed };
      await qmp.execute("blockdev-backup", job);
    });
    return vm;
  }

  it("as long as they take", async () => {
    const vm = await withBackup(4 << 20);
    const told: string[] = [];
    await updateVm(
      { qmp: vm.qmp },
      { qemu: qemu["11.1"], stateDir: vm.stateDir, waitForJobsMs: 60_000, onWait: (text) => told.push(text) },
    );
    expect(told[0]).toMatch(/^waiting for the backup job j0 \(running/);
    expect(vm.qemus()).not.toContain(vm.pid);
  });

  it("or as long as asked for", async () => {
    const vm = await withBackup(1024);
    const refused = updateVm({ qmp: vm.qmp }, { qemu: qemu["11.1"], stateDir: vm.stateDir, waitForJobsMs: 500 });
    await expect(refused).rejects.toThrow(/\[block-job\] the backup job j0 \(running, \d+ % done\) is not over/);
    expect(vm.qemus()).toEqual([vm.pid]);
  });
});

describeQemu("an update refuses by name, and changes nothing", ["10.0", "11.1"], (qemu) => {
  const cases: readonly (readonly [
    what: string,
    change: (qmp: Qmp, vm: Updatable) => Promise<unknown>,
    says: RegExp,
  ])[] = [
    [
      "a bitmap that no image can hold",
      async (qmp) => {
        await qmp.execute("blockdev-add", { driver: "null-co", "node-name": "null0", size: 1 << 20 });
        await qmp.execute("block-dirty-bitmap-add", { node: "null0", name: "b0" });
      },
      /\[dirty-bitmap\] bitmap b0 of null0/,
    ],
    [
      "an export of which QEMU does not tell how it was made",
      async (qmp, vm) => {
        const addr = { type: "unix", path: join(vm.dir, "vu") };
        await qmp.execute("block-export-add", { id: "e0", type: "vhost-user-blk", "node-name": "disk0", addr });
      },
      /\[block-export\] the vhost-user-blk export e0/,
    ],
    [
      "a job",
      async (qmp) => {
        const target = { driver: "null-co", "node-name": "copy", size: 16 << 20 };
        await qmp.execute("blockdev-add", target);
        const job = { "job-id": "j0", device: "disk0", target: "copy", sync: "none" };
        await qmp.execute("blockdev-backup", job);
      },
      /\[block-job\] the backup job j0/,
    ],
  ];
  for (const [what, change, says] of cases) {
    it(what, async () => {
      const vm = await startUpdatable({
        machine: "pc-q35-10.0",
        accel: "tcg",
        qemu: qemu["10.0"],
        devices: true,
      });
      await ask(vm, (qmp) => change(qmp, vm));
      const refused = updateVm({ qmp: vm.qmp }, { qemu: qemu["11.1"], stateDir: vm.stateDir });
      await expect(refused).rejects.toThrow(says);
      expect(vm.qemus()).toEqual([vm.pid]);
      await vm.serial.waitForMore(10, 20_000);
      assertContiguous(vm.serial);
    });
  }
});
