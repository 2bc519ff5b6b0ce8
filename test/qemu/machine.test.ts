// A running machine read in one go: what was set is in it, secrets are not, and nothing of the VM changes.

import { chmodSync, mkdirSync, renameSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { type Qmp, readMachine } from "../../src/qemu/index.ts";
import { askerOf } from "../../src/qemu/machine/ask.ts";
import { parseForwards, parseNetwork } from "../../src/qemu/machine/net.ts";
import { type Machine, machineSchema } from "../../src/qemu/machine/schema.ts";
import { isSecretProperty, withoutPasswords } from "../../src/qemu/machine/secrets.ts";
import { readQom } from "../../src/qemu/machine/tree/qom.ts";
import { cprkit } from "../support/cli.ts";
import { expectNoFdLeak } from "../support/fds.ts";
import { describeQemu } from "../support/qemu.ts";
import { type TestVm, withVm } from "./preflight-support.ts";

const secret = "hidden-from-all";

/** Options of a VM with some of everything. */
function someOfEverything(dir: string): string[] {
  writeFileSync(join(dir, "disk.img"), Buffer.alloc(1 << 20));
  writeFileSync(join(dir, "disc.iso"), Buffer.alloc(1 << 20));
  mkdirSync(join(dir, "ram"));
  return [
    ["-name", "vm one", "-uuid", "5a0c3f1e-2f0b-4a76-9d6e-111111111111", "-smp", "2"],
    ["-object", `secret,id=s0,data=${secret}`, "-object", "iothread,id=io0,poll-max-ns=12345"],
    ["-object", "throttle-group,id=tg0,x-iops-total=77"],
    ["-object", `memory-backend-file,id=dimm,size=2M,share=on,mem-path=${join(dir, "ram")}`],
    ["-drive", `if=none,id=d0,format=raw,file=${join(dir, "disk.img")},throttling.bps-total=1000000`],
    ["-device", "virtio-blk-pci,id=blk,drive=d0,iothread=io0"],
    ["-device", "virtio-scsi-pci,id=scsi"],
    ["-drive", `if=none,id=cd,format=raw,readonly=on,media=cdrom,file=${join(dir, "disc.iso")}`],
    ["-device", "scsi-cd,drive=cd,id=cdrom"],
    [
      "-netdev",
      "user,id=n0,hostfwd=tcp:127.0.0.1:0-:22",
      "-device",
      "virtio-net-pci,id=nic,netdev=n0,mac=52:54:00:00:00:07",
    ],
    ["-chardev", `socket,id=agent,path=${join(dir, "agent.sock")},server=on,wait=off`],
    ["-vnc", `unix:${join(dir, "vnc.sock")}`],
    ["-device", "virtio-balloon-pci,id=balloon"],
  ].flat();
}

for (const version of ["10.0", "11.1"] as const) {
  describeQemu(`the machine as it is, QEMU ${version}`, [version], ({ [version]: qemu }) => {
    const withMachine = (work: (vm: TestVm, read: () => Promise<Machine>) => Promise<void>) =>
      withVm({ qemu, args: someOfEverything }, (vm) =>
        work(vm, () => expectNoFdLeak(() => readMachine({ qmp: vm.qmpPath }))),
      );

    it("has what was set, by the command line and since", async () => {
      await withMachine(async (vm, read) => {
        chmodSync(join(vm.dir, "agent.sock"), 0o660);
        await vm.ask(async (qmp) => {
          await qmp.execute("block-dirty-bitmap-add", { node: "d0", name: "backup" });
          await qmp.execute("block_set_io_throttle", {
            device: "d0",
            ...{ bps: 0, bps_rd: 0, bps_wr: 0, iops: 55, iops_rd: 0, iops_wr: 0 },
          });
          await qmp.execute("migrate-set-parameters", { "max-bandwidth": 12_345_678 });
          await qmp.execute("qom-set", {
            path: "/machine/peripheral/balloon",
            property: "guest-stats-polling-interval",
            value: 9,
          });
        });
        const machine = await read();
        expect(machine).toMatchObject({ type: "pc-q35-10.0", name: "vm one", status: { status: "running" } });
        expect(machine.uuid).toBe("5a0c3f1e-2f0b-4a76-9d6e-111111111111");
        expect(machine.qemu.version.startsWith(version)).toBe(true);
        expect(machine.devices.find(({ id }) => id === "nic")).toMatchObject({
          type: "virtio-net-pci",
          bus: expect.stringContaining("pcie.0"),
          options: { netdev: "n0", mac: "52:54:00:00:00:07" },
        });
        expect(machine.objects.find(({ id }) => id === "tg0")?.type).toBe("throttle-group");
        const disk = machine.block.devices.find(({ device }) => device === "d0");
        expect(disk?.limits).toMatchObject({ iops: 55, group: "d0" });
        const node = machine.block.nodes.find(({ name }) => name === disk?.node);
        const file = machine.block.nodes.find(({ name }) => name === node?.children[0]?.node);
        const stat = statSync(join(vm.dir, "disk.img"), { bigint: true });
        expect(node?.bitmaps).toMatchObject([{ name: "backup", recording: true, persistent: false }]);
        expect(file).toMatchObject({ driver: "file", open: { inode: Number(stat.ino) }, readOnly: false });
        expect(machine.block.devices.find(({ device }) => device === "cd")).toMatchObject({ trayOpen: false });
        const ram = machine.memory.blocks.find(({ name }) => name === "ram0");
        expect(ram).toMatchObject({ size: 32 << 20, file: { link: "/memfd:memory-backend-memfd (deleted)" } });
        expect(machine.memory.blocks.some(({ file: of }) => of?.link.includes("/ram/") === true)).toBe(true);
        expect(machine.chardevs.map(({ label }) => label)).toContain("agent");
        expect(machine.net.clients).toContainEqual(expect.objectContaining({ name: "nic", type: "nic", peer: "n0" }));
        expect(machine.net.forwards).toEqual([expect.objectContaining({ netdev: "n0", guest: "10.0.2.15:22" })]);
        expect(machine.iothreads).toMatchObject([{ id: "io0", "poll-max-ns": 12345 }]);
        expect(machine.vnc.flatMap(({ server }) => server)).toMatchObject([{ family: "unix" }]);
        expect(machine.migration.parameters["max-bandwidth"]).toBe(12_345_678);
        const balloon = machine.qom.find(({ path }) => path === "/machine/peripheral/balloon");
        expect(balloon?.properties["guest-stats-polling-interval"]).toBe(9);
        expect(machine.process.sockets).toContainEqual(
          expect.objectContaining({ path: join(vm.dir, "agent.sock"), mode: "0660" }),
        );
        expect(machine.process).toMatchObject({
          pid: vm.pid,
          uid: process.getuid?.(),
          namespaces: { net: expect.stringMatching(/^net:/) },
        });
        expect(machine.process.threads.map(({ role }) => role)).toEqual(["main", "vcpu 0", "vcpu 1", "iothread io0"]);
      });
    });

    it("has no secrets, and survives JSON", async () => {
      await withMachine(async (_, read) => {
        const machine = await read();
        const text = JSON.stringify(machine);
        expect(text).not.toContain(secret);
        expect(machine.objects.map(({ id }) => id)).toContain("s0");
        expect(machineSchema.parse(JSON.parse(text))).toEqual(JSON.parse(text));
      });
    });

    it("asks for many objects at once where QEMU can, and leaves out what it can't say", async () => {
      await withMachine(async (vm, read) => {
        const machine = await read();
        const missing = machine.unanswered.map(({ command }) => command);
        expect(missing.includes("qom-list-get")).toBe(version === "10.0");
        expect(missing).toContain("query-vm-generation-id");
        // The same by the other way of reading.
        if (version === "11.1") {
          const cpu = machine.qom.filter(({ type }) => type.endsWith("-cpu")).map(({ properties }) => properties);
          expect(Object.keys(cpu[0] ?? {}).length).toBeGreaterThan(200);
          expect(Object.keys(cpu[1] ?? {}).length).toBeLessThan(60);
          expect(cpu[1]).toHaveProperty("feature-words");
        }
        expect(machine.qom.some(({ type }) => /irq|memory-region/.test(type))).toBe(false);
        // Another file at the path: it is not the one that is open, so it is not shown as such.
        const path = join(vm.dir, "disc.iso");
        renameSync(path, `${path}.old`);
        writeFileSync(path, "");
        const nodes = (await read()).block.nodes.filter(({ file, driver }) => file === path && driver === "file");
        expect(nodes.map(({ open }) => open)).toEqual([undefined]);
      });
    });

    it("cprkit inspect prints it, and all of it as JSON", async () => {
      await withMachine(async (vm) => {
        const shown = cprkit(["inspect", "--qmp", vm.qmpPath]);
        expect(shown).toMatchObject({ code: 0, stderr: "" });
        for (const word of [
          "pc-q35-10.0",
          "vm one",
          "virtio-net-pci",
          "n0",
          "iothread io0",
          "ram0",
          "vnc.sock  none",
        ]) {
          expect(shown.stdout).toContain(word);
        }
        expect(shown.stdout).not.toContain(secret);
        const { code, stdout } = cprkit(["inspect", "--pid", String(vm.pid), "--json"]);
        expect(code).toBe(0);
        expect(machineSchema.parse(JSON.parse(stdout)).process.pid).toBe(vm.pid);
      });
    });
  });
}

describe("what the human monitor says of the network", () => {
  it("a client with its peer, a hub with its ports, a client alone", () => {
    const text = [
      "hub 0",
      " \\ port1: n1: index=0,type=user,net=10.0.2.0,restrict=off",
      "nic: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:00:00:00:07",
      " \\ n0: index=0,type=tap,ifname=tap0",
      "alone: index=0,type=nic,model=e1000,macaddr=52:54:00:00:00:08",
      "",
    ].join("\r\n");
    expect(parseNetwork(text).map(({ name, type, peer }) => [name, type, peer])).toEqual([
      ["port1", "hubport", "hub 0"],
      ["n1", "user", "port1"],
      ["nic", "nic", "n0"],
      ["n0", "tap", "nic"],
      ["alone", "nic", undefined],
    ]);
    expect(parseNetwork("Network is not there\n")).toEqual([]);
  });

  it("forwarded ports", () => {
    const text =
      "Hub -1 (n0):\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\n" +
      "  TCP[HOST_FORWARD]  12       127.0.0.1 23451       10.0.2.15    22     0     0\n";
    expect(parseForwards(text)).toEqual([
      { netdev: "n0", protocol: "tcp", host: "127.0.0.1:23451", guest: "10.0.2.15:22" },
    ]);
  });
});

describe("the tree of objects", () => {
  const treeOf = async (children: (path: string) => number) => {
    const execute = async (_: string, { paths }: { readonly paths: readonly string[] }) =>
      paths.map((path) => ({
        properties: Array.from({ length: children(path) }, (_, index) => ({
          name: `c${index}`,
          type: "child<device>",
        })),
      }));
    // Only what readQom calls.
    const qmp = { execute } as unknown as Qmp;
    return (await readQom(qmp, { ...askerOf(qmp, {}) }, {}, {})).objects;
  };

  it("is read to its end", async () => {
    const objects = await treeOf((path) => (path === "/" ? 2 : path === "/c1" ? 1 : 0));
    expect(objects.map(({ path }) => path)).toEqual(["/", "/c0", "/c1", "/c1/c0"]);
  });

  it.each([
    ["deep", 1],
    ["wide", 40],
  ])("one without an end is refused: %s", async (_, children) => {
    await expect(treeOf(() => children)).rejects.toMatchObject({ code: "ERR_QMP" });
  });
});

describe("secrets", () => {
  it("passwords within texts are replaced, ids of secrets stay", () => {
    expect(withoutPasswords({ file: ["https://user:pw@host/x", 'json:{"password":"pw","driver":"ftp"}'] })).toEqual({
      file: ["https://user:***@host/x", 'json:{"password":"***","driver":"ftp"}'],
    });
    expect(withoutPasswords("rbd:pool/image:id=x:key=AQ==:mon=h")).toBe("rbd:pool/image:id=x:key=***:mon=h");
    expect(isSecretProperty("virtio-net-pci", "netdev")).toBe(false);
    expect(isSecretProperty("iscsi", "password-secret")).toBe(false);
    expect(isSecretProperty("secret", "data")).toBe(true);
  });
});

describe("cprkit inspect of a machine", () => {
  it.each([
    [["inspect", "--qmp", "/nonexistent"], 4, "no such socket"],
    [["inspect", "--qmp", "/nonexistent", "--hex"], 2, "does not go with"],
    [["inspect", "stream.bin", "--qmp", "/nonexistent"], 2, "does not go with"],
    [["inspect"], 2, "name a file"],
    [["inspect", "--pid", "0"], 2, "whole number"],
  ])("%j exits with %i", (args, code, words) => {
    const result = cprkit(args);
    expect(result.code).toBe(code);
    expect(result.stderr).toContain(words);
  });
});
