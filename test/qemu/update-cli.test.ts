// cprkit update and cprkit status on the command line, and what they refuse.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterEach, expect, it } from "vitest";
import { processIdentity } from "../../src/linux/index.ts";
import { connectQmp } from "../../src/qemu/qmp/client.ts";
import { lockHolder, takeLock, takeProcessLock } from "../../src/qemu/update/record/lock.ts";
import { updateVm } from "../../src/qemu/update/update.ts";
import { describeQemu } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { privateDir } from "../support/vm.ts";
import { endAll, runStates, startPlain, startUpdatable, type UpdatableOptions } from "./update-support.ts";

afterEach(endAll);

const program = fileURLToPath(new URL("../../bin/cprkit", import.meta.url));

function cprkit(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], {
    encoding: "utf8",
    timeout: 50_000,
  });
  return { status, stdout, stderr };
}

it("needs a VM, and one that is there", () => {
  expect(cprkit("update")).toMatchObject({ status: 2, stderr: expect.stringContaining("--qmp PATH or --pid PID") });
  expect(cprkit("update", "--qmp", "/nowhere/qmp.sock")).toMatchObject({
    status: 4,
    stderr: expect.stringContaining("ENOENT"),
  });
  expect(cprkit("update", "--resume", "--abort", "--pid", "1").status).toBe(2);
  expect(cprkit("status", "--qmp", "/nowhere/qmp.sock").status).toBe(4);
  expect(cprkit("update", "--help").stdout).toContain("--before-pause");
});

it("a lock is its holder's while that lives, and nobody's afterwards", () => {
  const folder = privateDir();
  const unlock = takeLock(folder);
  expect(lockHolder(folder)).toEqual(processIdentity("self"));
  expect(() => takeLock(folder)).toThrow(/is updating this VM/);
  unlock();
  expect(existsSync(join(folder, "lock"))).toBe(false);
  // The pid lives, but it is another process than the one that took the lock.
  writeFileSync(join(folder, "lock"), `${process.pid} 1\n`);
  expect(lockHolder(folder)).toBeUndefined();
  takeLock(folder)();
  rmSync(folder, { recursive: true });
});

describeQemu("cprkit update on the command line", ["10.0", "11.1"], (qemu) => {
  const start = (extraArgs?: UpdatableOptions["extraArgs"]) => startPlain(qemu["10.0"], extraArgs);

  it("shows, does, and tells", async () => {
    const vm = await start();
    const common = ["--qmp", vm.qmp, "--state-dir", vm.stateDir];
    const dry = cprkit("update", ...common, "--qemu", qemu["11.1"], "--dry-run");
    expect(dry).toMatchObject({
      status: 0,
      stdout: expect.stringContaining("-chardev socket,id=compat_monitor0,server=on,wait=off,fd=10"),
    });
    expect(vm.qemus()).toEqual([vm.pid]);
    const hook = `echo "$CPRKIT_MODE" > ${join(vm.dir, "hook")}`;
    const done = cprkit("update", ...common, "--qemu", qemu["11.1"], "--before-pause", hook);
    expect(done).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/10\.0\.\d+ .* -> 11\.1\.\d+ .* fds carried/),
    });
    expect(readFileSync(join(vm.dir, "hook"), "utf8").trim()).toBe("cpr-transfer");
    const [pid] = vm.qemus();
    const status = cprkit("status", "--json", ...common);
    expect(JSON.parse(status.stdout)).toMatchObject({ guest: "destination", pid, runState: "running" });
    const nothing = cprkit("update", ...common, "--abort");
    expect(nothing).toMatchObject({ status: 4, stderr: expect.stringContaining("no unfinished update") });
    await vm.serial.waitForMore(5, 10_000);
    assertContiguous(vm.serial);
  });

  it("says which mode it takes when cpr-transfer does not work, and copies only if that is allowed", async () => {
    const vm = await startUpdatable({ qemu: qemu["10.0"], machine: "pc-q35-10.0", accel: "tcg", ram: "plain" });
    const words = ["update", "--qmp", vm.qmp, "--state-dir", vm.stateDir, "--qemu", qemu["11.1"]];
    expect(cprkit(...words)).toMatchObject({
      status: 4,
      stderr: expect.stringMatching(/\[memory-not-shared\].*It can be updated with .*--mode copy/),
    });
    expect(cprkit(...words, "--mode", "fast").status).toBe(2);
    expect(cprkit(...words, "--allow-copy")).toMatchObject({
      status: 0,
      stderr: expect.stringMatching(
        /by copy: cpr-transfer does not work here \(aux-ram-share-off, memory-not-shared\)/,
      ),
      stdout: expect.stringMatching(/, copy: downtime/),
    });
    // QEMU's own word; and from now on CPR works.
    expect(cprkit("preflight", "--qmp", vm.qmp, "--mode", "normal", "--json").status).toBe(0);
    expect(cprkit(...words).stdout).toMatch(/cpr-transfer: downtime/);
    await vm.serial.waitForMore(5, 10_000);
    assertContiguous(vm.serial);
  });

  it("a failing hook, and a command of one's own after --", async () => {
    const vm = await start();
    const common = ["--qmp", vm.qmp, "--state-dir", vm.stateDir];
    const refused = cprkit("update", ...common, "--before-pause", "exit 5");
    expect(refused).toMatchObject({ status: 4, stderr: expect.stringMatching(/rolled back.*status 5/) });
    expect(await runStates(vm)).toEqual(new Map([[vm.pid, "running"]]));
    const own = readFileSync(`/proc/${vm.pid}/cmdline`, "utf8").split("\0").slice(1, -1);
    const moved = own.map((word) => word.replace(vm.qmp, join(vm.dir, "qmp.sock.mine")));
    const report = cprkit("update", ...common, "--json", "--", qemu["10.0"], ...moved);
    expect(report.status, report.stderr).toBe(0);
    const { pid, outcome } = JSON.parse(report.stdout) as { pid: number; outcome: string };
    expect(outcome).toBe("updated");
    expect(vm.qemus()).toEqual([pid]);
  });

  it("a daemon is updated, and its successor writes the pidfile", async () => {
    const vm = await start((dir) => ["-daemonize", "-pidfile", join(dir, "pid")]);
    const report = await updateVm({ qmp: vm.qmp }, { stateDir: vm.stateDir });
    expect(report.command).not.toContain("-daemonize");
    expect(readFileSync(join(vm.dir, "pid"), "utf8").trim()).toBe(String(report.pid));
    expect(await runStates(vm)).toEqual(new Map([[report.pid, "running"]]));
    await vm.serial.waitForMore(5, 10_000);
    assertContiguous(vm.serial);
  });

  it("says so when another client holds the only monitor", async () => {
    const vm = await start();
    const holder = connect(vm.qmp);
    await new Promise((resolve) => holder.once("data", resolve));
    const refused = cprkit("update", "--qmp", vm.qmp, "--state-dir", vm.stateDir);
    expect(refused).toMatchObject({ status: 4, stderr: expect.stringContaining("another client holds this monitor") });
    holder.destroy();
  });

  it("does not say that a QEMU which has saved its guest has it", async () => {
    const vm = await start();
    const monitor = await connectQmp(vm.qmp);
    await monitor.execute("migrate", { uri: `file:${join(vm.dir, "saved")}` });
    while ((await monitor.execute("query-status")).status !== "postmigrate") await sleep(10);
    await monitor.close();
    const status = cprkit("status", "--qmp", vm.qmp, "--state-dir", vm.stateDir);
    expect(status).toMatchObject({
      status: 1,
      stdout: expect.stringContaining("does not run the guest (postmigrate)"),
    });
    expect(status.stdout).toContain("which QEMU has it is unknown");
  });

  it("a journal that can't be written at the end does not leave the update unfinished for ever", async () => {
    const vm = await start();
    const fill = () => {
      for (const name of readdirSync(vm.stateDir)) {
        mkdirSync(join(vm.stateDir, name, "journal.json.new"), { recursive: true });
      }
    };
    const onStep = (step: string) => (step === "running" ? fill() : undefined);
    const report = await updateVm({ qmp: vm.qmp }, { stateDir: vm.stateDir, onStep });
    expect(report.warnings.join()).toContain("the journal can't be written");
    const status = cprkit("status", "--qmp", vm.qmp, "--state-dir", vm.stateDir);
    expect(status).toMatchObject({ status: 0, stdout: expect.stringContaining("has the guest: running") });
  });

  it("refuses a second update with another monitor of the same QEMU and another state folder", async () => {
    const vm = await start((dir) => ["-qmp", `unix:${join(dir, "second.sock")},server=on,wait=off`]);
    const second = () => cprkit("update", "--qmp", join(vm.dir, "second.sock"), "--state-dir", join(vm.dir, "other"));
    const unlock = takeProcessLock(processIdentity(vm.pid));
    const refused = second();
    expect(refused).toMatchObject({ status: 4, stderr: expect.stringContaining("is updating this VM") });
    unlock();
    // One whose cprkit was killed holds no lock, but has left a QEMU that waits for the guest.
    const script = fileURLToPath(new URL("children/update.mjs", import.meta.url));
    const options = { target: { qmp: vm.qmp }, stateDir: vm.stateDir, at: "destination-ready" };
    expect(spawnSync(process.execPath, [script, JSON.stringify(options)]).signal).toBe("SIGKILL");
    const left = vm.qemus().filter((pid) => pid !== vm.pid);
    expect(left).toHaveLength(1);
    const stderr = expect.stringContaining(
      `process ${left[0]} was started by another update of this QEMU (pid ${vm.pid})`,
    );
    expect(second()).toMatchObject({ status: 4, stderr });
    expect(cprkit("update", "--abort", "--qmp", vm.qmp, "--state-dir", vm.stateDir).status).toBe(0);
    expect(second().status).toBe(0);
  });

  it("refuses what can't go through, before it changes anything", async () => {
    const vm = await start((dir) => ["-qmp", "tcp:127.0.0.1:0,server=on,wait=off", "-D", join(dir, "log")]);
    const refused = cprkit("update", "--qmp", vm.qmp, "--state-dir", vm.stateDir);
    expect(refused).toMatchObject({ status: 4, stderr: expect.stringContaining("[port-taken]") });
    expect(existsSync(vm.stateDir)).toBe(false);
    expect(vm.qemus()).toEqual([vm.pid]);
    // Allowed by its code, it goes on: port 0 means any free one.
    mkdirSync(vm.stateDir, { mode: 0o700 });
    const done = cprkit("update", "--qmp", vm.qmp, "--state-dir", vm.stateDir, "--allow", "port-taken");
    expect(done.status, done.stderr).toBe(0);
  });
});
