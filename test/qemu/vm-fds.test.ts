// What cprkit says of a running QEMU's fds, compared with what QEMU then really sends.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fstatSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { receiveCprState } from "../../src/channel/index.ts";
import { closeFds } from "../../src/linux/index.ts";
import { reportVmFds } from "../../src/qemu/fds/report.ts";
import { connectQmp } from "../../src/qemu/index.ts";
import { cprkit } from "../support/cli.ts";
import { expectNoFdLeak } from "../support/fds.ts";
import { describeQemu, usableAccel } from "../support/qemu.ts";
import { privateDir, startVm, type Vm } from "../support/vm.ts";
import { expectStayed, migrate } from "./tap-support.ts";

async function start(qemu: string, extraArgs: readonly string[] = []): Promise<Vm> {
  const accel = await usableAccel(qemu);
  const vm = await startVm({ qemu, machine: "pc-q35-10.0", accel, guest: "firmware", extraBackends: 3, extraArgs });
  await vm.listening();
  await vm.serial.waitForCount(5, 20_000);
  return vm;
}

for (const version of ["10.0", "11.1"] as const) {
  describeQemu(`the fds of QEMU ${version}`, [version], ({ [version]: qemu }) => {
    it("names each fd that CPR carries, as QEMU then sends it, and the guest runs on", () =>
      expectNoFdLeak(async () => {
        const dir = privateDir();
        const more = ["-object", "memory-backend-ram,id=own,size=8K,share=on", "-device", "VGA"];
        const file = ["-object", `memory-backend-file,id=filed,size=8K,share=on,mem-path=${join(dir, "ram")}`];
        const vm = await start(qemu, [...more, ...file]);
        const { fds, version: found, warnings } = await reportVmFds({ pid: vm.pid });
        expect(found).toMatch(new RegExp(`^${version.replace(".", "\\.")}\\.`));
        expect(warnings).toEqual([]);
        const carried = fds.filter(({ fate }) => fate === "carried");

        const qmp = await connectQmp(vm.qmpPath);
        const received = receiveCprState(join(dir, "cpr.sock"));
        await vm.listening(join(dir, "cpr.sock"));
        await migrate(qmp, join(dir, "main.sock"), join(dir, "cpr.sock"));
        const { state, hangUp } = await received;
        const sent = [...state].map(({ name, id, fd }) => ({ name, id, inode: fstatSync(fd).ino }));
        const told = carried.map(({ name, id, fd }) => ({ name, id, inode: statSync(`/proc/${vm.pid}/fd/${fd}`).ino }));
        const byName = <T extends { name?: string | undefined }>(list: T[]) =>
          list.toSorted((a, b) => String(a.name).localeCompare(String(b.name)));
        expect(byName(told)).toEqual(byName(sent));
        expect(sent.length).toBeGreaterThanOrEqual(11);
        closeFds([...state].map(({ fd }) => fd));
        hangUp();
        await expectStayed({ vm, qmp });
        await qmp.close();

        const of = (what: string) => fds.find((each) => each.what === what);
        expect(of(join(dir, "ram"))).toMatchObject({ fate: "reopened" });
        expect(of(`UNIX socket listening at ${vm.qmpPath}`)).toMatchObject({ fate: "handed" });
        expect(of("anon_inode:[signalfd]")).toMatchObject({ fate: "recreated" });
        expect(of("memfd:displaysurface")).toMatchObject({ fate: "recreated" });
        expect(fds.slice(0, 3).map(({ fate }) => fate)).toEqual(["inherited", "inherited", "inherited"]);
        await vm.kill();
      }));

    it("tells what is lost and what is not: a passed fd, a client's connection, removed files", async () => {
      const dir = privateDir();
      const at = (name: string) => join(dir, name);
      writeFileSync(at("image"), new Uint8Array(4096));
      const args = [
        ["-machine", "none,accel=tcg", "-nodefaults", "-display", "none", "-add-fd", "fd=3,set=1"],
        ["-qmp", `unix:${at("q.sock")},server=on,wait=off`, "-qmp", `unix:${at("other.sock")},server=on,wait=off`],
        ["-blockdev", `file,node-name=n,filename=${at("image")}`],
        ["-object", `memory-backend-file,id=filed,size=8K,share=on,mem-path=${at("ram")}`],
      ].flat();
      const child = spawn(qemu, args, { stdio: ["ignore", "ignore", "ignore", "pipe"] });
      const exit = once(child, "exit");
      try {
        const client = await connectQmp(at("other.sock"), { waitMs: 20_000 });
        rmSync(at("image"));
        rmSync(at("ram"));
        const { fds } = await reportVmFds({ pid: child.pid, qmp: at("q.sock") });
        const lost = fds.filter(({ fate }) => fate === "lost").map(({ what }) => what);
        expect(lost).toContain(`UNIX connection accepted at ${at("other.sock")}`);
        expect(lost).toContain(`${at("image")} (deleted)`);
        // The new QEMU opens that one through /proc.
        expect(fds.find(({ what }) => what === `${at("ram")} (deleted)`)).toMatchObject({ fate: "reopened" });
        // QEMU keeps a copy of what was passed.
        expect(fds.find(({ name }) => name === "cprkit/fdset/1")).toMatchObject({ fate: "handed", id: 0 });
        expect(fds.filter(({ why }) => why.startsWith("passed to QEMU from outside"))).toEqual([]);
        expect(fds.find(({ what }) => what === `UNIX connection accepted at ${at("q.sock")}`)?.why).toContain("cprkit");
        await client.close();
      } finally {
        child.kill("SIGKILL");
        await exit;
      }
    });

    it("looks from outside while another client holds the monitor, and says what is missing", async () => {
      const vm = await start(qemu);
      const other = await connectQmp(vm.qmpPath);
      const { fds, warnings, version: unknown } = await reportVmFds({ pid: vm.pid }, { timeoutMs: 300 });
      expect(unknown).toBeUndefined();
      expect(warnings).toEqual([expect.stringContaining("another client holds this monitor")]);
      const carried = fds.filter(({ fate }) => fate === "carried");
      expect(carried.map(({ name }) => name)).toContain("pc.bios");
      expect(carried.filter(({ name }) => name === undefined)).toHaveLength(4);
      expect(fds.find(({ fate }) => fate === "lost")?.what).toBe(`UNIX connection accepted at ${vm.qmpPath}`);
      await other.close();
      await vm.kill();
    });
  });
}

describeQemu("cprkit fds", ["11.1"], (qemu) => {
  it("prints a table, and the same as JSON", async () => {
    const vm = await start(qemu["11.1"]);
    const text = await cprkit(["fds", "--pid", String(vm.pid)]);
    expect(text).toMatchObject({ code: 0, stderr: "" });
    expect(text.stdout).toMatch(/^ *\d+ {2}memfd:pc\.bios +carried +pc\.bios +0 {2}guest RAM$/m);
    expect(text.stdout).toMatch(/ +carried +ram0 +0 {2}guest RAM$/m);
    expect(text.stdout).toMatch(/QEMU 11\.1\.\d+, .*\): \d+ fds, CPR carries 9, cprkit hands over 1$/m);
    const json = JSON.parse((await cprkit(["fds", "--pid", String(vm.pid), "--json"])).stdout);
    expect(json.fds.find(({ name }: { name?: string }) => name === "pc.bios")).toMatchObject({
      fate: "carried",
      id: 0,
    });
    await vm.kill();
  });

  it("says what is wrong with the pid", async () => {
    const absent = await cprkit(["fds", "--pid", "4194303"]);
    expect(absent).toMatchObject({ code: 4, stdout: "" });
    expect(absent.stderr).toMatch(/^cprkit: \/proc\/4194303\/stat: there is no such process/);
    expect(await cprkit(["fds"])).toMatchObject({ code: 2 });
    expect(await cprkit(["fds", "--pid", "x"])).toMatchObject({ code: 2 });
  });
});
