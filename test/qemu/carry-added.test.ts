// Objects, character devices and networks that were added, removed or changed since the start, and links: after an
// update they are what they were, or were refused by name.
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { preflight } from "../../src/qemu/preflight/preflight.ts";
import type { Qmp } from "../../src/qemu/qmp/client.ts";
import { updateVm } from "../../src/qemu/update/update.ts";
import { describeQemu } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { ask, endAll, startUpdatable } from "./update-support.ts";

afterEach(endAll);

function human(qmp: Qmp, line: string): Promise<string> {
  return qmp.execute("human-monitor-command", { "command-line": line });
}

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 0;
}

const ways = [
  ["10.0", ["11.1", "10.0"], "cpr-transfer"],
  ["11.1", ["11.1"], "cpr-exec"],
] as const;

describeQemu("an update carries", ["10.0", "11.1"], (qemu) => {
  for (const [from, later, mode] of ways) {
    it(`objects, character devices and networks: ${[from, ...later].join(" -> ")}`, async () => {
      const vm = await startUpdatable({
        machine: "pc-q35-10.0",
        accel: "tcg",
        qemu: qemu[from],
        extraArgs: (dir) => [
          ...[
            "-object",
            "iothread,id=io0",
            "-object",
            "iothread,id=io1,poll-max-ns=4000",
            "-object",
            "iothread,id=io2",
          ],
          ...["-object", "throttle-group,id=tg0,x-iops-total=100"],
          ...["-object", '{"qom-type":"throttle-group","id":"tg1","limits":{"bps-total":1000}}'],
          ...["-chardev", "null,id=c0", "-chardev", "null,id=c1"],
          ...["-chardev", `socket,id=c2,path=${dir}/c2.sock,server=on,wait=off`],
          ...["-netdev", "user,id=n0", "-netdev", "user,id=n1,hostname=x", "-netdev", "hubport,id=hp0,hubid=1"],
          ...["-device", "e1000,netdev=n1,id=nic1", "-device", "virtio-serial-pci,id=vs"],
          ...["-device", "virtserialport,chardev=c2,name=org.agent"],
        ],
      });
      const port = await freePort();
      const peer = join(vm.dir, "peer.sock");
      const server = createServer(() => undefined);
      await new Promise<void>((resolve) => server.listen(peer, resolve));
      await ask(vm, async (qmp) => {
        await qmp.execute("object-add", { "qom-type": "iothread", id: "io9", "poll-max-ns": 1234 });
        await qmp.execute("object-add", { "qom-type": "throttle-group", id: "tg9", limits: { "iops-read": 7 } });
        await qmp.execute("object-add", { "qom-type": "rng-random", id: "rng9", filename: "/dev/urandom" });
        const memory = { "qom-type": "memory-backend-memfd", id: "mem9", size: 1 << 20, share: true };
        await qmp.execute("object-add", memory);
        await qmp.execute("object-del", { id: "io2" });
        await qmp.execute("qom-set", { path: "/objects/io1", property: "poll-max-ns", value: 77 });
        const limits = { "iops-total": 0, "bps-read": 5000 };
        await qmp.execute("qom-set", { path: "/objects/tg0", property: "limits", value: limits });
        const socket = (path: string) => ({
          type: "socket",
          data: { addr: { type: "unix", data: { path } }, server: true, wait: false },
        });
        await qmp.execute("chardev-add", { id: "c9", backend: socket(join(vm.dir, "c9.sock")) });
        await qmp.execute("chardev-add", { id: "c8", backend: { type: "ringbuf", data: {} } });
        // A client's connection is another one after the update; one that has no peer goes on trying.
        const client = (path: string) => ({ addr: { type: "unix", data: { path } }, server: false });
        await qmp.execute("chardev-add", { id: "c7", backend: { type: "socket", data: client(peer) } });
        const waiting = { ...client(join(vm.dir, "nobody")), "reconnect-ms": 500 };
        await qmp.execute("chardev-add", { id: "c6", backend: { type: "socket", data: waiting } });
        await qmp.execute("netdev_add", {
          type: "stream",
          id: "st9",
          server: false,
          addr: { type: "unix", path: peer },
        });
        await qmp.execute("chardev-remove", { id: "c0" });
        await qmp.execute("chardev-change", { id: "c2", backend: socket(join(vm.dir, "other.sock")) });
        await qmp.execute("device_add", { driver: "virtserialport", id: "p9", chardev: "c9", name: "org.x" });
        await qmp.execute("netdev_add", { type: "user", id: "n9" });
        await qmp.execute("netdev_add", { type: "hubport", id: "hp9", hubid: 2 });
        await qmp.execute("netdev_del", { id: "n0" });
        await qmp.execute("netdev_del", { id: "hp0" });
        expect(await human(qmp, `hostfwd_add n1 tcp:127.0.0.1:${port}-:22`)).toBe("");
      });
      const look = () =>
        ask(vm, async (qmp) => ({
          iothreads: (await qmp.execute("query-iothreads")).map(({ id, "poll-max-ns": ns }) => `${id} ${ns}`).sort(),
          groups: await Promise.all(
            ["tg0", "tg1", "tg9"].map((id) => qmp.execute("qom-get", { path: `/objects/${id}`, property: "limits" })),
          ),
          objects: (await qmp.execute("qom-list", { path: "/objects" }))
            .map(({ name, type }) => `${name} ${type}`)
            .filter((text) => !/^(compat_monitor|cprkit-)/.test(text))
            .sort(),
          chardevs: (await qmp.execute("query-chardev"))
            .map(
              ({ label, filename }) =>
                `${label} ${filename.replace(/\.cpr\d+/g, "").replace(/^disconnected:| <-> .*$/g, "")}`,
            )
            .filter((text) => !/^(compat_monitor|cprkit-)/.test(text) && !text.startsWith("serial0"))
            .sort(),
          // A hub stays when its last port has gone.
          network: (await human(qmp, "info network"))
            .split(/\r?\n(?! )/)
            .filter((text) => !/^hub \d+$/.test(text))
            .sort(),
          forwards: (await human(qmp, "info usernet"))
            .match(/^ *TCP\[HOST_FORWARD\].*$/gm)
            ?.map((line) => line.replace(/\] +\d+/, "]")),
        }));
      const isConnected = ({ network }: Awaited<ReturnType<typeof look>>) => !network.join().includes("connecting");
      await expect.poll(async () => isConnected(await look())).toBe(true);
      const before = await look();
      for (const version of later) {
        const report = await updateVm({ qmp: vm.qmp }, { qemu: qemu[version], mode, stateDir: vm.stateDir });
        expect(report.comparison.before?.differences).toEqual([]);
        expect(report.comparison.after?.differences).toEqual([]);
        expect(await look()).toEqual(before);
      }
      await vm.serial.waitForMore(5, 20_000);
      assertContiguous(vm.serial);
      server.close();
    });

    it(`links that were set down: ${[from, ...later].join(" -> ")}`, async () => {
      const cards = ["virtio-net-pci", "e1000", "e1000e", "rtl8139"];
      const vm = await startUpdatable({
        machine: "pc-q35-10.0",
        accel: "tcg",
        qemu: qemu[from],
        // It gives the cards their addresses.
        firmware: "SeaBIOS",
        extraArgs: () => [
          ...["-nic", "user,model=virtio-net-pci,mac=52:54:00:00:00:01"],
          ...cards.flatMap((card, index) => [
            "-netdev",
            `hubport,id=h${index},hubid=${index}`,
            "-device",
            `${card},id=x${index},netdev=h${index}`,
          ]),
        ],
      });
      // As the guest reads it: status of virtio-net's configuration, STATUS of the Intel cards, BMSR of the Realtek one.
      const registers = [
        [4, 0x2006, "1hx", 0],
        [0, 8, "1wx", 1],
        [0, 8, "1wx", 1],
        [1, 0x64, "1hx", 2],
      ] as const;
      const links = () =>
        ask(vm, async (qmp) => {
          const pci = (await human(qmp, "info pci")).split(/\n(?= {2}Bus)/);
          const read = registers.map(async ([bar, offset, format, bit], index) => {
            const text = pci.find((each) => each.includes(`id "x${index}"`)) ?? "";
            const base = Number(new RegExp(`BAR${bar}: .*? at (0x[0-9a-f]+)`).exec(text)?.[1]);
            const said = await human(qmp, `xp /${format} 0x${(base + offset).toString(16)}`);
            return (Number(said.split(":")[1]?.trim()) >> bit) & 1;
          });
          return Promise.all(read);
        });
      const all = await links();
      expect(all).toEqual([1, 1, 1, 1]);
      await ask(vm, async (qmp) => {
        for (const name of ["x0", "h1", "x2", "x3"]) await qmp.execute("set_link", { name, up: false });
      });
      expect(await links()).toEqual([0, 0, 0, 0]);
      for (const version of later) {
        await updateVm({ qmp: vm.qmp }, { qemu: qemu[version], mode, stateDir: vm.stateDir });
        expect(await links()).toEqual([0, 0, 0, 0]);
      }
      await ask(vm, async (qmp) => {
        for (const name of ["x0", "h1", "x2", "x3"]) await qmp.execute("set_link", { name, up: true });
      });
      expect(await links()).toEqual([1, 1, 1, 1]);
    });
  }

  it("what QEMU makes by itself is not taken for added: default devices, names by chance", async () => {
    const vm = await startUpdatable({
      machine: "pc-q35-10.0",
      accel: "tcg",
      qemu: qemu["10.0"],
      serialArgs: (dir) => ["-serial", `chardev:main`, "-chardev", `socket,id=main,path=${dir}/serial.sock`],
      rewrite: (args) => args.filter((word) => word !== "-nodefaults"),
      extraArgs: () => [
        ...["-serial", "mon:null", "-debugcon", "null", "-nic", "user,model=virtio-net-pci", "-netdev", "user,id=n0"],
        ...["-nic", "user,id=own", "-gdb", "none", "-chardev", "null,id=q2", "-mon", "chardev=q2,id=hm"],
      ],
    });
    for (const version of ["11.1", "10.0"] as const) {
      const report = await updateVm({ qmp: vm.qmp }, { qemu: qemu[version], stateDir: vm.stateDir });
      expect(report.carried.filter(({ what }) => !what.endsWith("handed over"))).toEqual([]);
      expect(report.comparison.after?.differences).toEqual([]);
    }
  });

  it("refuses by name what QEMU does not tell", async () => {
    const vm = await startUpdatable({ machine: "pc-q35-10.0", accel: "tcg", qemu: qemu["11.1"] });
    await ask(vm, async (qmp) => {
      await qmp.execute("object-add", { "qom-type": "secret", id: "sec9", data: "not to be seen" });
      const log = { type: "file", data: { out: join(vm.dir, "log9") } };
      await qmp.execute("chardev-add", { id: "c9", backend: log });
      await qmp.execute("netdev_add", { type: "socket", id: "n9", listen: "127.0.0.1:0" });
    });
    const report = await preflight({ qmp: vm.qmp }, { qemu: qemu["11.1"] });
    expect(report.findings.map(({ code, subject }) => `${code} ${subject}`).sort()).toEqual(
      ["c9", "n9", "sec9"].map((subject) => `options-unseen ${subject}`),
    );
    expect(JSON.stringify(report)).not.toContain("not to be seen");
    expect(readFileSync(`/proc/${vm.pid}/cmdline`, "utf8")).not.toContain("not to be seen");
  });
});
