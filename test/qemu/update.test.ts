// Live updates of real VMs: every mode, both QEMUs and both ways, three machine types, with a disk and a network card.
import { existsSync, lstatSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import type { UpdateReport } from "../../src/qemu/update/options.ts";
import { vmStatus } from "../../src/qemu/update/status.ts";
import { updateVm } from "../../src/qemu/update/update.ts";
import type { CprModeName } from "../../src/qemu/vm/binary.ts";
import { expectNoFdLeak } from "../support/fds.ts";
import { type CprQemu, describeQemu, usableAccel } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { diskIo, endAll, runStates, startUpdatable, type Updatable } from "./update-support.ts";

afterEach(endAll);

const Q35 = "pc-q35-10.0";
const PC = "pc-i440fx-10.0";

/** One VM and the QEMUs that it goes through. */
const journeys: readonly (readonly [machine: string, mode: CprModeName, versions: readonly CprQemu[]])[] = [
  [Q35, "cpr-transfer", ["10.0", "10.0"]],
  [Q35, "cpr-transfer", ["10.0", "11.1", "10.0"]],
  [Q35, "cpr-transfer", ["11.1", "11.1"]],
  [Q35, "cpr-exec", ["11.1", "11.1", "11.1"]],
  [Q35, "cpr-reboot", ["10.0", "10.0"]],
  [Q35, "cpr-reboot", ["10.0", "11.1", "10.0"]],
  [PC, "cpr-transfer", ["10.0", "11.1", "10.0"]],
  [PC, "cpr-exec", ["11.1", "11.1"]],
  [PC, "cpr-reboot", ["11.1", "11.1"]],
  ["microvm", "cpr-transfer", ["10.0", "10.0"]],
  ["microvm", "cpr-transfer", ["11.1", "11.1"]],
  ["microvm", "cpr-exec", ["11.1", "11.1"]],
  ["microvm", "cpr-reboot", ["10.0", "10.0"]],
];

/** Every process that is alive runs the guest or is not there: exactly one. */
async function expectOneRunning(vm: Updatable, pid: number): Promise<void> {
  expect(await runStates(vm)).toEqual(new Map([[pid, "running"]]));
}

function expectSane(report: UpdateReport, mode: CprModeName): void {
  expect(report.mode).toBe(mode);
  expect(report.runState).toBe("running");
  expect(report.downtimeMs).toBeGreaterThan(0);
  expect(report.downtimeMs).toBeLessThan(report.totalMs);
  if (mode === "cpr-transfer") expect(report.fds?.map(({ name }) => name)).toContain("ram0");
  if (mode === "cpr-exec") expect(report.pid).toBe(report.sourcePid);
  else expect(report.pid).not.toBe(report.sourcePid);
}

describeQemu("cprkit update, real QEMU", ["10.0", "11.1"], (qemu) => {
  for (const [machine, mode, versions] of journeys) {
    it(`${machine}, ${mode}: ${versions.join(" -> ")}`, async () => {
      const [first = "10.0", ...later] = versions;
      const accel = await usableAccel(qemu[first]);
      const ram = mode === "cpr-reboot" ? "file" : "memfd";
      const vm = await startUpdatable({ qemu: qemu[first], machine, accel, ram, devices: true });
      expect(await diskIo(vm, "write -P 0x11 0 64k")).not.toContain("failed");
      let round = 0;
      for (const version of later) {
        round += 1;
        const report = await updateVm(
          { qmp: vm.qmp },
          {
            qemu: qemu[version],
            mode,
            stateDir: vm.stateDir,
            allow: ["machine-unversioned"],
          },
        );
        expectSane(report, mode);
        expect(report.to.startsWith(version)).toBe(true);
        await expectOneRunning(vm, report.pid);
        await vm.serial.waitForMore(10, 20_000);
        // The disk: what was written before is read now, and what is written now lands.
        for (let earlier = 0; earlier < round; earlier++) {
          expect(await diskIo(vm, `read -P ${0x11 + earlier} ${earlier * 64}k 64k`)).not.toMatch(/fail|error/i);
        }
        expect(await diskIo(vm, `write -P ${0x11 + round} ${round * 64}k 64k`)).not.toMatch(/fail|error/i);
        const status = await vmStatus({ qmp: vm.qmp }, { stateDir: vm.stateDir });
        expect(status).toMatchObject({ guest: "destination", pid: report.pid, runState: "running" });
        // Nothing of the hand-over is left but the journal and the log.
        expect(existsSync(report.log)).toBe(true);
      }
      assertContiguous(vm.serial);
    });
  }

  it("devices behind a root port and a bridge, which have no bus number before the state is loaded", async () => {
    const vm = await startUpdatable({
      qemu: qemu["10.0"],
      machine: Q35,
      // SeaBIOS does not start under every KVM.
      accel: "tcg",
      firmware: "SeaBIOS",
      extraArgs: () => [
        ...["-device", "pcie-root-port,id=rp1,chassis=1", "-device", "virtio-rng-pci,bus=rp1"],
        ...["-device", "pci-bridge,id=br,chassis_nr=2", "-device", "virtio-balloon-pci,bus=br,addr=5,id=balloon"],
      ],
    });
    for (const version of ["11.1", "10.0"] as const) {
      // A device that has moved below its bridge is another machine, found before the guest stops.
      const moved = join(vm.dir, `moved-${version}`);
      writeFileSync(
        moved,
        `#!/bin/bash\nwords=()\nfor word in "$@"; do words+=("$(sed s/br,addr=5/br,addr=6/ <<< "$word")"); done\n` +
          `exec '${qemu[version]}' "\${words[@]}"\n`,
        { mode: 0o755 },
      );
      const refused = updateVm({ qmp: vm.qmp }, { qemu: moved, stateDir: vm.stateDir });
      await expect(refused).rejects.toThrow(
        /another machine: .*balloon\]\.properties\.addr: 40 of the running QEMU, 48 of the new one/,
      );
      const report = await updateVm({ qmp: vm.qmp }, { qemu: qemu[version], stateDir: vm.stateDir });
      await expectOneRunning(vm, report.pid);
      await vm.serial.waitForMore(5, 20_000);
    }
    assertContiguous(vm.serial);
  });

  it("ten updates in a row of one VM, there and back", async () => {
    const vm = await startUpdatable({
      qemu: qemu["10.0"],
      machine: Q35,
      accel: await usableAccel(qemu["10.0"]),
      devices: true,
    });
    let pid = vm.pid;
    for (let round = 0; round < 10; round++) {
      const version = round % 2 === 0 ? "11.1" : "10.0";
      const block = `${round * 64}k 64k`;
      expect(await diskIo(vm, `write -P ${round + 1} ${block}`)).not.toMatch(/fail|error/i);
      const report = await updateVm({ qmp: vm.qmp }, { qemu: qemu[version], stateDir: vm.stateDir });
      expect(report.sourcePid).toBe(pid);
      pid = report.pid;
      await vm.serial.waitForMore(5, 20_000);
      expect(await diskIo(vm, `read -P ${round + 1} ${block}`)).not.toMatch(/fail|error/i);
    }
    await expectOneRunning(vm, pid);
    for (let round = 0; round < 10; round++) {
      expect(await diskIo(vm, `read -P ${round + 1} ${round * 64}k 64k`)).not.toMatch(/fail|error/i);
    }
    assertContiguous(vm.serial);
    expect(lstatSync(vm.qmp).isSocket()).toBe(true);
  });

  it("a serial log in a file, a pidfile and a second monitor live on under their names", async () => {
    const vm = await startUpdatable({
      qemu: qemu["10.0"],
      machine: Q35,
      accel: await usableAccel(qemu["10.0"]),
      serialArgs: (dir) => ["-serial", `file:${join(dir, "serial.log")}`],
      extraArgs: (dir) => [
        ...["-pidfile", join(dir, "pid"), "-monitor", `unix:${join(dir, "hmp.sock")},server=on,wait=off`],
        ...["-chardev", `null,id=n0,logfile=${join(dir, "chardev.log")}`, "-serial", "chardev:n0"],
      ],
    });
    const log = join(vm.dir, "serial.log");
    await expect.poll(() => existsSync(log), { timeout: 20_000 }).toBe(true);
    const lines = () => readFileSync(log, "latin1").split("\n").slice(0, -1);
    for (const version of ["11.1", "10.0"] as const) {
      const before = lines().length;
      const target = { pid: vm.qemus()[0] };
      const report = await expectNoFdLeak(() => updateVm(target, { qemu: qemu[version], stateDir: vm.stateDir }));
      expect(readFileSync(join(vm.dir, "pid"), "utf8").trim()).toBe(String(report.pid));
      expect(lstatSync(join(vm.dir, "hmp.sock")).isSocket()).toBe(true);
      await expect.poll(() => lines().length, { timeout: 20_000 }).toBeGreaterThan(before + 10);
    }
    const numbers = lines().map((line) => Number(/^T (\d+)/.exec(line)?.[1]));
    expect(numbers).toEqual(numbers.map((_, index) => index));
  });

  it("a paused VM stays paused", async () => {
    const accel = await usableAccel(qemu["10.0"]);
    const vm = await startUpdatable({ qemu: qemu["10.0"], machine: Q35, accel });
    await diskless(vm, "stop");
    const report = await updateVm({ qmp: vm.qmp }, { stateDir: vm.stateDir });
    expect(report).toMatchObject({ runState: "paused", downtimeMs: undefined });
    expect(await runStates(vm)).toEqual(new Map([[report.pid, "paused"]]));
    await diskless(vm, "cont");
    await vm.serial.waitForMore(5, 20_000);
    assertContiguous(vm.serial);
  });
});

async function diskless(vm: Updatable, command: "stop" | "cont"): Promise<void> {
  const { connectQmp } = await import("../../src/qemu/qmp/client.ts");
  const qmp = await connectQmp(vm.qmp);
  await qmp.execute(command);
  await qmp.close();
}
