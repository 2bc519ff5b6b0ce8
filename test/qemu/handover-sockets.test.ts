// Listening UNIX sockets are handed over: paths, inodes and waiting clients stay, and no client gets to the new QEMU before
// the guest does.
import { chmodSync, lstatSync, readdirSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { listeningUnixSockets } from "../../src/linux/index.ts";
import { connectQmp } from "../../src/qemu/qmp/client.ts";
import { vmStatus } from "../../src/qemu/update/status.ts";
import { updateVm } from "../../src/qemu/update/update.ts";
import { expectAsManyFds } from "../support/fds.ts";
import { describeQemu, usableAccel } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { queryInLoop } from "./loops.ts";
import { endAll, startUpdatable, type Updatable } from "./update-support.ts";

afterEach(endAll);

describeQemu("listening sockets", ["10.0", "11.1"], (qemu) => {
  it("keep path, inode, mode and labels; a client that connects in a loop is never refused", async () => {
    const vm = await start(qemu["10.0"]);
    const names = ["qmp.sock", "second.sock", "hmp.sock", "agent.sock", "port.sock"];
    chmodSync(join(vm.dir, "hmp.sock"), 0o660);
    const look = () =>
      names.map((name) => {
        const { ino, mode, uid } = lstatSync(join(vm.dir, name));
        return { name, ino, mode: mode.toString(8), uid };
      });
    const [before, labels] = [look(), await labelsOf(vm)];
    // Counted when the clients have gone: they are in this process.
    const said = await expectAsManyFds(async () => {
      const clients = ["qmp.sock", "second.sock"].map((name) => queryInLoop({ path: join(vm.dir, name) }));
      for (const version of ["11.1", "10.0", "11.1"] as const) {
        await updateVm({ qmp: vm.qmp }, { qemu: qemu[version], stateDir: vm.stateDir });
        expect(look()).toEqual(before);
        expect(await vmStatus({ qmp: vm.qmp }, { stateDir: vm.stateDir })).toMatchObject({ runState: "running" });
      }
      return Promise.all(clients.map((client) => client.end()));
    });
    for (const { refused, states, count } of said) {
      expect(refused).toEqual([]);
      expect(states.filter((state) => state === "inmigrate")).toEqual([]);
      expect(count).toBeGreaterThan(3);
    }
    expect((await labelsOf(vm)).filter((label) => label !== "cprkit-qmp")).toEqual(labels);
    expect(readdirSync(vm.dir).filter((name) => name.includes(".cpr"))).toEqual([]);
    const listening = listeningUnixSockets().flatMap(({ path }) => (dirname(path) === vm.dir ? basename(path) : []));
    expect(listening.sort()).toEqual([...names, "serial.sock"].sort());
    await vm.serial.waitForMore(3, 10_000);
    assertContiguous(vm.serial);
  });

  it("are the old QEMU's again after a rollback, and stay when the new one fails by itself", async () => {
    const vm = await start(qemu["10.0"]);
    const failing = (step: string) =>
      step === "before-switch" ? Promise.reject(new Error("not this time")) : undefined;
    const update = (more: object) => updateVm({ qmp: vm.qmp }, { qemu: qemu["11.1"], stateDir: vm.stateDir, ...more });
    await expect(expectAsManyFds(() => update({ onStep: failing }))).rejects.toThrow(/rolled back.*not this time/);
    expect(vm.qemus()).toEqual([vm.pid]);
    for (const name of ["qmp.sock", "second.sock"]) {
      const qmp = await connectQmp(join(vm.dir, name), { timeoutMs: 5_000 });
      expect(await qmp.execute("query-status")).toMatchObject({ status: "running" });
      await qmp.close();
    }
    expect(await vmStatus({ qmp: vm.qmp }, { stateDir: vm.stateDir })).toMatchObject({ guest: "source", pid: vm.pid });
    // By another monitor, whose last listener was the one that is gone.
    const report = await updateVm({ qmp: join(vm.dir, "second.sock") }, { qemu: qemu["11.1"], stateDir: vm.stateDir });
    expect(report.sourcePid).toBe(vm.pid);
    await vm.serial.waitForMore(3, 10_000);
    assertContiguous(vm.serial);
  });
});

async function start(qemu: string): Promise<Updatable> {
  return startUpdatable({
    qemu,
    machine: "pc-q35-10.0",
    accel: await usableAccel(qemu),
    extraArgs: (dir) => [
      ...["-monitor", `unix:${dir}/hmp.sock,server=on,wait=off`, "-qmp", `unix:${dir}/second.sock,server=on,wait=off`],
      ...["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"],
      ...["-chardev", `socket,id=agent,path=${dir}/agent.sock,server=on,wait=off`],
      ...["-serial", `unix:${dir}/port.sock,server=on,wait=off`],
    ],
  });
}

async function labelsOf(vm: Updatable): Promise<string[]> {
  const qmp = await connectQmp(vm.qmp, { timeoutMs: 5_000 });
  const chardevs = await qmp.execute("query-chardev");
  await qmp.close();
  return chardevs.map(({ label }) => label).sort();
}
