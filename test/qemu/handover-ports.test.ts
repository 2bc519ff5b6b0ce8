// TCP ports: those of character devices are handed over, VNC's, gdb's and forwarded ones are opened again.
import { readFileSync, readlinkSync, statSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { listeningFds } from "../../src/qemu/fds/sockets.ts";
import { connectQmp } from "../../src/qemu/qmp/client.ts";
import { updateVm } from "../../src/qemu/update/update.ts";
import { expectAsManyFds } from "../support/fds.ts";
import { describeQemu, usableAccel } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { freePort, queryInLoop, visitInLoop } from "./loops.ts";
import { ask, endAll, startUpdatable, type Updatable } from "./update-support.ts";

afterEach(endAll);

const host = "127.0.0.1";

describeQemu("TCP ports", ["10.0", "11.1"], (qemu) => {
  it("a client that connects in a loop is never refused, and none gets to the new QEMU too early", async () => {
    const [monitor, serial] = [await freePort(), await freePort()];
    const vm = await start(qemu["10.0"], [
      ...["-qmp", `tcp:${host}:${monitor},server=on,wait=off`],
      ...["-chardev", `socket,id=port,host=${host},port=${serial},server=on,wait=off`, "-serial", "chardev:port"],
    ]);
    const clients = [queryInLoop({ host, port: monitor }), visitInLoop({ host, port: serial })];
    for (const version of ["11.1", "10.0"] as const) {
      const report = await updateVm({ qmp: vm.qmp }, { qemu: qemu[version], stateDir: vm.stateDir });
      expect(report.warnings.join("\n")).not.toMatch(/differs|serves nobody/);
      expect(report.carried.map(({ what }) => what)).toContain(`tcp ${host}:${serial}: its fd handed over`);
    }
    const failing = (step: string) => (step === "before-switch" ? Promise.reject(new Error("not now")) : undefined);
    const failed = updateVm({ qmp: vm.qmp }, { qemu: qemu["11.1"], stateDir: vm.stateDir, onStep: failing });
    await expect(failed).rejects.toThrow(/rolled back.*not now/);
    const said = await Promise.all(clients.map((client) => client.end()));
    for (const { refused, count } of said) {
      expect(refused).toEqual([]);
      expect(count).toBeGreaterThan(3);
    }
    expect(said[0]?.states).toContain("running");
    expect(said[0]?.states).not.toContain("inmigrate");
    await vm.serial.waitForMore(3, 10_000);
    assertContiguous(vm.serial);
  });

  it("and UNIX sockets stay open across cpr-exec where QEMU got them by fd: the same sockets, and nobody is refused", async () => {
    const monitor = await freePort();
    const vm = await start(qemu["10.0"], ["-qmp", `tcp:${host}:${monitor},server=on,wait=off`]);
    const { pid } = await updateVm({ qmp: vm.qmp }, { qemu: qemu["11.1"], stateDir: vm.stateDir });
    const look = () =>
      [...listeningFds(pid)].flatMap(([fd, { at }]) =>
        at === vm.qmp || at === `${host}:${monitor}` ? [[at, fd, readlinkSync(`/proc/${pid}/fd/${fd}`)]] : [],
      );
    const before = look();
    expect(before).toHaveLength(2);
    const clients = [queryInLoop({ host, port: monitor }), queryInLoop({ path: vm.qmp })];
    const report = await updateVm({ qmp: vm.qmp }, { mode: "cpr-exec", stateDir: vm.stateDir });
    expect(report.pid).toBe(pid);
    expect(look()).toEqual(before);
    for (const { refused, count } of await Promise.all(clients.map((client) => client.end()))) {
      expect(refused).toEqual([]);
      expect(count).toBeGreaterThan(1);
    }
    await vm.serial.waitForMore(3, 10_000);
    assertContiguous(vm.serial);
  });

  it("of both families, which serial ports have, are opened when the old QEMU has ended", async (context) => {
    if (!(await hasIpv6())) context.skip("there is no IPv6 here");
    const [short, long] = [await freePort(), await freePort()];
    const vm = await start(qemu["10.0"], [
      ...["-serial", `tcp::${short},server=on,wait=off`],
      ...["-chardev", `socket,id=long,host=,port=${long},server=on,wait=off`],
      ...["-device", "virtio-serial", "-device", "virtserialport,chardev=long,name=agent"],
    ]);
    const ports = (pid: number) =>
      [...listeningFds(pid)].flatMap(([, { family, at }]) =>
        family === "tcp" ? [at.replace(/\[[0:]*\]/, "[::]")] : [],
      );
    const before = ports(vm.pid).sort();
    expect(before).toEqual([short, long].flatMap((port) => [`0.0.0.0:${port}`, `[::]:${port}`]).sort());
    for (const [version, mode] of [
      ["11.1", "cpr-transfer"],
      ["11.1", "cpr-exec"],
      ["10.0", "cpr-transfer"],
    ] as const) {
      const report = await updateVm({ qmp: vm.qmp }, { qemu: qemu[version], mode, stateDir: vm.stateDir });
      const text = report.warnings.join("\n");
      expect(text).not.toMatch(/differs|failed/);
      if (mode === "cpr-transfer") {
        expect(text).toMatch(new RegExp(`not open while .*serial1 on :${short} [\\d.]+ ms`));
        expect(text).toMatch(new RegExp(`long on :${long} [\\d.]+ ms`));
      }
      expect(ports(report.pid).sort()).toEqual(before);
    }
    await vm.serial.waitForMore(3, 10_000);
    assertContiguous(vm.serial);
  });

  it("VNC, gdb and forwarded ports are opened when the old QEMU has ended, with their settings", async () => {
    const [vnc, gdb, forwarded, hmp] = [await freePort(), await freePort(), await freePort(), await freePort()];
    const vm = await start(qemu["10.0"], [
      ...["-vnc", `${host}:${vnc - 5900},password=on`, "-gdb", `tcp:${host}:${gdb}`],
      ...["-monitor", `tcp:${host}:${hmp},server=on,wait=off`],
      ...["-netdev", `user,id=n,hostfwd=tcp:${host}:${forwarded}-:22`, "-device", "e1000,netdev=n"],
    ]);
    const passwords = { vnc: "secret" };
    for (const version of ["11.1", "10.0"] as const) {
      const how = { qemu: qemu[version], stateDir: vm.stateDir, passwords };
      const report = await expectAsManyFds(() => updateVm({ qmp: vm.qmp }, how));
      const text = report.warnings.join("\n");
      expect(text).toMatch(
        new RegExp(`not open while .*VNC ${host}:${vnc} [\\d.]+ ms.*gdbserver tcp:${host}:${gdb} [\\d.]+ ms`),
      );
      expect(text).toMatch(new RegExp(`hostfwd n tcp:${host}:${forwarded}-\\S+ [\\d.]+ ms`));
      expect(text).not.toMatch(/differs|failed/);
      console.log(report.warnings.find((warning) => warning.startsWith("not open")));
      // Whoever has the port speaks RFB, and asks for a password; gdb's answers, too.
      expect(await firstBytes(vnc, "")).toMatch(/^RFB/);
      expect(await firstBytes(gdb, "$?#3f")).toMatch(/^\+/);
      const qmp = await connectQmp(vm.qmp, { timeoutMs: 5_000 });
      expect(await qmp.execute("query-vnc-servers")).toMatchObject([
        { auth: "vnc", server: [{ service: String(vnc) }] },
      ]);
      // The debugger has stopped the guest.
      await qmp.execute("cont");
      await qmp.close();
    }
    expect(readFileSync(`/proc/${vm.qemus()[0]}/cmdline`, "utf8")).not.toContain("-gdb");
    await vm.serial.waitForMore(3, 10_000);
    assertContiguous(vm.serial);
  });
});

describeQemu("networks that listen for their peer", ["10.0", "11.1"], (qemu) => {
  it("keep path and port; nobody is refused, and after a rollback the old QEMU serves them", async () => {
    const port = await freePort();
    const vm = await startUpdatable({
      qemu: qemu["10.0"],
      machine: "pc-q35-10.0",
      accel: await usableAccel(qemu["10.0"]),
      extraArgs: (dir) => [
        ...["-netdev", `stream,id=n0,server=on,addr.type=unix,addr.path=${dir}/net`, "-device", "e1000,netdev=n0"],
        ...["-netdev", `stream,id=n1,server=on,addr.type=inet,addr.host=${host},addr.port=${port}`],
        ...["-device", "virtio-net-pci,netdev=n1"],
      ],
    });
    const path = join(vm.dir, "net");
    const before = statSync(path).ino;
    const clients = [visitInLoop({ path }), visitInLoop({ host, port })];
    const steps = { "before-switch": () => Promise.reject(new Error("not now")) } as Record<
      string,
      () => Promise<void>
    >;
    const onStep = (step: string) => steps[step]?.();
    const failed = updateVm({ qmp: vm.qmp }, { qemu: qemu["11.1"], stateDir: vm.stateDir, onStep });
    await expect(failed).rejects.toThrow(/rolled back.*not now/);
    expect(await isServed(vm, path)).toBe(true);
    const report = await updateVm({ qmp: vm.qmp }, { qemu: qemu["11.1"], stateDir: vm.stateDir });
    expect(report.warnings.join("\n")).not.toMatch(/differs|serves nobody/);
    expect(statSync(path).ino).toBe(before);
    for (const { refused, count } of await Promise.all(clients.map((client) => client.end()))) {
      // QEMU lets a single client wait there: the next that does not block is told to try again, with or without an update.
      expect(refused.filter((code) => code !== "EAGAIN")).toEqual([]);
      expect(count).toBeGreaterThan(3);
    }
    expect(await isServed(vm, path)).toBe(true);
    await vm.serial.waitForMore(3, 10_000);
    assertContiguous(vm.serial);
  });
});

/** Whether the QEMU that has the guest takes a client there for the network's peer. */
async function isServed(vm: Updatable, path: string): Promise<boolean> {
  const socket = connect(path);
  try {
    const info = () => ask(vm, (qmp) => qmp.execute("human-monitor-command", { "command-line": "info network" }));
    await expect.poll(info, { timeout: 10_000 }).toMatch(/n0: index=0,type=stream,unix:/);
    return true;
  } finally {
    socket.destroy();
  }
}

async function start(qemu: string, more: readonly string[]): Promise<Updatable> {
  return startUpdatable({
    qemu,
    machine: "pc-q35-10.0",
    accel: await usableAccel(qemu),
    extraArgs: () => more,
  });
}

function hasIpv6(): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(0, "::", () => server.close(() => resolve(true)));
  });
}

function firstBytes(port: number, said: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port }, () => socket.write(said));
    socket.once("data", (bytes) => {
      socket.destroy();
      resolve(bytes.toString("latin1"));
    });
    socket.once("error", reject);
  });
}
