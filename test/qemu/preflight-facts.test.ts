// What can't be made on every machine: the facts of a real VM, with one thing in them changed.
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { programWords } from "../../src/qemu/command-line/program-words.ts";
import { carriedVfio, countInterrupts } from "../../src/qemu/fds/vfio.ts";
import { type Finding, findingCodes } from "../../src/qemu/finding.ts";
import {
  checkHeldDevices,
  checkListeningNetworks,
  checkNetPeers,
  checkVfio,
  checkVfioAccelerator,
} from "../../src/qemu/preflight/checks/devices.ts";
import { checkCgroup, checkMonitor, checkRoom, checkService } from "../../src/qemu/preflight/checks/host.ts";
import { checkFdLimits, checkHostMemory } from "../../src/qemu/preflight/checks/limits.ts";
import { checkMemory } from "../../src/qemu/preflight/checks/memory.ts";
import { checkNewQemu } from "../../src/qemu/preflight/checks/new-qemu.ts";
import { type Facts, gatherFacts } from "../../src/qemu/preflight/facts.ts";
import { newQemuCommand } from "../../src/qemu/vm/new-qemu.ts";
import { openVm } from "../../src/qemu/vm/open.ts";
import { readVmProcess } from "../../src/qemu/vm/process.ts";
import { describeQemu } from "../support/qemu.ts";
import { withVm } from "./preflight-support.ts";

const text = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");

it("counts the interrupts of VFIO devices by the kernel's table", () => {
  const table = [
    "           CPU0       CPU1",
    "  9:          0          3  IR-IO-APIC    9-fasteoi   acpi, vfio-intx(0000:01:00.0)",
    " 38:          0         29  IR-PCI-MSIX-0000:07:00.0    0-edge      vfio-msix[0](0000:07:00.0)",
    " 39:         29          0  IR-PCI-MSIX-0000:07:00.0    1-edge      vfio-msix[1](0000:07:00.0)",
    " 40:          0          0  IR-PCI-MSI-0000:08:00.0    0-edge      vfio-msi[0](0000:08:00.0)",
    " 41:          0          0  IR-PCI-MSIX-0000:09:00.0    0-edge      nvme0q0",
  ].join("\n");
  expect(countInterrupts(table, ["0000:07:00.0"], true)).toBe(2 + 4);
  expect(countInterrupts(table, ["0000:07:00.0"], false)).toBe(2 + 2);
  expect(countInterrupts(table, ["0000:01:00.0", "0000:08:00.0"], true)).toBe(4 + 2 + 2);
  expect(countInterrupts(table, ["0000:09:00.0"], true)).toBe(2);
});

it("documents every code", () => {
  const documented = [...text("docs/preflight.md").matchAll(/^\| `([a-z-]+)` \|/gm)].map(([, code]) => code);
  expect(documented).toEqual(Object.keys(findingCodes));
});

it("names the VFIO fds that QEMU 10.1 and newer carry", () => {
  const links = new Map([
    [7, "/dev/vfio/vfio"],
    [8, "/dev/vfio/12"],
    [9, "anon_inode:[vfio-device]"],
    [10, "/dev/iommu"],
    [11, "anon_inode:[eventfd]"],
    [12, "/memfd:pc.ram (deleted)"],
  ]);
  const facts = { preserved: true, devices: ["0000:3b:00.0"], iommufds: ["iommufd0"], interrupts: 4 };
  const named = [...carriedVfio(links, facts)].map(([fd, { fate, name, id }]) => [fd, fate, name, id]);
  expect(named).toEqual([
    [7, "carried", "vfio_container_for_group", 12],
    [8, "carried", "vfio_group", 12],
    [9, "carried", "0000:3b:00.0", 0],
    [10, "carried", "iommufd0", 0],
    [11, "unknown", undefined, undefined],
  ]);
  // Which of two is which can't be told from outside: no name rather than a wrong one.
  const two = carriedVfio(links, { ...facts, devices: ["0000:3b:00.0", "0000:3b:00.1"] });
  expect(two.get(9)).toMatchObject({ fate: "carried" });
  // But for a kernel that tells it.
  const told = carriedVfio(links, { ...facts, devices: ["0000:3b:00.0", "0000:3b:00.1"] }, () => "0000:3b:00.1");
  expect(told.get(9)).toMatchObject({ name: "0000:3b:00.1", id: 0 });
  expect(two.get(9)).not.toHaveProperty("name");
  expect(carriedVfio(links, { ...facts, preserved: false }).size).toBe(0);
});

it("finds the program behind a dynamic loader", () => {
  const self = readVmProcess(process.pid);
  expect(programWords(self)).toEqual([self.argv[0]]);
  const loader = "/lib64/ld-linux-x86-64.so.2";
  const argv = [loader, "--library-path", "/opt/lib", "/opt/bin/qemu", "-m", "32"];
  const loaded = { ...self, program: loader, argv };
  expect(newQemuCommand(loaded, undefined).words).toEqual(argv.slice(0, 4));
  expect(newQemuCommand(loaded, "/usr/bin/qemu").words).toEqual(["/usr/bin/qemu"]);
});

it("does not give the old binary's modules to another one", () => {
  const self = { ...readVmProcess(process.pid), program: "/opt/old/bin/qemu", cwd: "/" };
  const vm = (folder: string) => ({ ...self, env: { QEMU_MODULE_DIR: folder, LANG: "C" } });
  expect(newQemuCommand(vm("/opt/old/lib/qemu"), "/opt/new/bin/qemu").env).toEqual({ LANG: "C" });
  expect(newQemuCommand(vm("/srv/modules"), "/opt/new/bin/qemu").env).toHaveProperty("QEMU_MODULE_DIR");
  expect(newQemuCommand(vm("/opt/old/lib/qemu"), undefined).env).toHaveProperty("QEMU_MODULE_DIR");
});

describeQemu("checks on facts that can't be made here", ["10.0", "11.1"], (qemu) => {
  it("devices of the host, memory, limits", () =>
    withVm({ qemu: qemu["10.0"] }, async ({ pid }) => {
      const vm = await openVm({ pid });
      const facts = (await gatherFacts(vm, { qemu: qemu["11.1"] })).inMode("cpr-transfer");
      const { next } = facts;
      await vm.qmp.close();
      const seen = (check: (facts: Facts) => readonly Finding[], changed: Partial<Facts>) =>
        check({ ...facts, ...changed }).map(({ code, severity }) => `${severity} ${code}`);

      const device = (type: string) => ({ devices: [{ id: "d", type }] });
      for (const check of [checkVfio, checkHeldDevices, checkFdLimits, checkHostMemory])
        expect(seen(check, {})).toEqual([]);
      // 10.0 runs: it can't hand VFIO over, and would not say so.
      expect(seen(checkVfio, device("vfio-pci"))).toEqual(["blocker vfio"]);
      const reboot = { ...device("vfio-pci"), mode: "cpr-reboot" } as const;
      expect(seen(checkVfio, reboot)).toEqual(["blocker vfio-not-suspended"]);
      expect(seen(checkVfio, { ...reboot, runState: "suspended" })).toEqual([]);
      // From 11.1 to itself it can; back to 10.0 it can't.
      if (!("abilities" in next.said)) throw next.said.error;
      const from11 = { ...device("vfio-pci"), abilities: next.said.abilities };
      expect(seen(checkVfio, from11)).toEqual([]);
      const older = { ...next, said: { ...next.said, abilities: facts.abilities } };
      expect(seen(checkVfio, { ...from11, next: older })).toEqual(["blocker vfio"]);

      // Without KVM its guest would be lost.
      const kvm = { ...from11, accelerator: "kvm" } as const;
      const tcg = { ...from11, accelerator: "tcg" } as const;
      expect(seen(checkVfioAccelerator, kvm)).toEqual([]);
      expect(seen(checkVfioAccelerator, { accelerator: "tcg" })).toEqual([]);
      expect(seen(checkVfioAccelerator, tcg)).toEqual(["blocker qemu-crash"]);
      expect(seen(checkVfioAccelerator, { ...tcg, mode: "cpr-exec" })).toEqual(["blocker qemu-crash"]);
      expect(seen(checkVfioAccelerator, { ...tcg, mode: "cpr-reboot" })).toEqual([]);

      // By QEMU's own list of what it was built with.
      expect([...next.said.accelerators]).toContain("tcg");
      const without = { ...next, said: { ...next.said, accelerators: new Set(["kvm"]) } };
      expect(seen(checkNewQemu, {})).toEqual([]);
      expect(seen(checkNewQemu, { next: without })).toEqual(["blocker accelerator-missing"]);

      // QEMU itself would crash while it loads.
      const nets = { clients: [{ name: "n", type: "stream", info: "listening", peer: "nic" }], forwards: [] };
      const value = "stream,id=n,server=on,addr.type=unix,addr.path=p";
      const listening = { runs: { ...facts.runs, net: nets }, options: [{ name: "netdev", value }] };
      expect(seen(checkListeningNetworks, { ...listening, mode: "cpr-exec" })).toEqual(["blocker qemu-crash"]);
      expect(seen(checkListeningNetworks, listening)).toEqual([]);

      expect(seen(checkHeldDevices, device("vhost-vsock-pci"))).toEqual(["blocker device-held"]);
      expect(seen(checkHeldDevices, device("usb-host"))).toEqual(["blocker device-held"]);
      expect(seen(checkHeldDevices, device("vhost-user-fs-pci"))).toEqual(["blocker vhost-user"]);
      const network = (type: string, words = "", info = "") => ({
        runs: { ...facts.runs, net: { clients: [{ name: "n", type, info, peer: "nic" }], forwards: [] } },
        options: [{ name: "netdev", value: `${type},id=n${words}` }],
      });
      expect(seen(checkNetPeers, network("user"))).toEqual([]);
      expect(seen(checkNetPeers, network("vhost-user", ",chardev=c"))).toEqual(["blocker vhost-user"]);
      expect(seen(checkNetPeers, network("dgram", "", "udp=127.0.0.1:1/127.0.0.1:2"))).toEqual(["warning net-peer"]);
      expect(seen(checkNetPeers, network("dgram", "", "mcast=230.0.0.1:1"))).toEqual([]);
      expect(seen(checkNetPeers, network("vhost-vdpa", ",vhostdev=/dev/vhost-vdpa-0"))).toEqual([
        "blocker device-held",
      ]);
      expect(seen(checkNetPeers, network("passt"))).toEqual(["blocker net-peer"]);
      const unix = ",server=off,addr.type=unix,addr.path=/p";
      expect(seen(checkNetPeers, network("stream", unix, "unix:/p"))).toEqual(["blocker net-peer"]);
      expect(seen(checkNetPeers, network("stream", `${unix},reconnect-ms=500`, "unix:/p"))).toEqual([
        "warning net-peer",
      ]);
      expect(seen(checkNetPeers, network("stream", ",server=on,addr.type=unix,addr.path=/p", "unix:/p"))).toEqual([]);
      expect(seen(checkHeldDevices, { ...device("usb-host"), sideBySide: false })).toEqual([]);

      expect(seen(checkMemory, { auxRamShare: undefined })).toEqual(["blocker aux-ram-share-off"]);
      expect(seen(checkHostMemory, { host: { ...facts.host, available: facts.host.needed - 1 } })).toEqual([
        "blocker memory-low",
      ]);
      const { process, launcher } = facts;
      for (const check of [checkCgroup, checkService, checkRoom, checkMonitor]) expect(seen(check, {})).toEqual([]);
      const closed = { launcher: { ...launcher, closedCgroup: "/machine.slice" } };
      expect(seen(checkCgroup, closed)).toEqual(["blocker cgroup"]);
      expect(seen(checkCgroup, { ...closed, sideBySide: false })).toEqual([]);
      const service = { name: "vm1.service", mainPid: process.identity.pid, pidFile: "" };
      expect(seen(checkService, { service })).toEqual(["blocker systemd-main"]);
      expect(seen(checkService, { service, sideBySide: false })).toEqual([]);
      // Outside the service's cgroup systemd would start a second one, whatever its pidfile says.
      const outside = { ...closed, service: { ...service, pidFile: "/run/vm1.pid" } };
      expect(seen(checkService, outside)).toEqual(["blocker systemd-main"]);
      expect(seen(checkService, { ...outside, service: { ...outside.service, mainPid: 1 } })).toEqual([]);
      expect(seen(checkService, { service: { ...service, pidFile: "/run/vm1.pid" } })).toEqual([]);
      expect(seen(checkService, { service: { ...service, mainPid: 1 } })).toEqual([]);
      expect(seen(checkMonitor, { newQmp: undefined })).toEqual(["blocker no-qmp"]);
      const full = {
        mode: "cpr-reboot",
        stateFolder: { path: "/run", freeBytes: (32 << 20) - 1, isShared: true },
      } as const;
      expect(seen(checkRoom, full)).toEqual(["blocker no-room"]);
      expect(seen(checkRoom, { ...full, mode: "cpr-transfer" })).toEqual([]);
      const shared = facts.backends.map((backend) => ({ ...backend, type: "memory-backend-file" }));
      expect(seen(checkRoom, { ...full, backends: shared })).toEqual([]);

      expect(seen(checkFdLimits, { own: { ...facts.own, nofile: facts.own.fds + 3 } })).toEqual(["blocker nofile-own"]);
      // What can't be named counts, too.
      expect(seen(checkFdLimits, { interrupts: facts.own.nofile })).toContain("blocker nofile-own");
    }));
});
