// preflight against real QEMUs: a VM that can be updated has no finding, and each obstacle that can be made is found.
import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";
import { areKnownOptions, parseOptions } from "../../src/qemu/command-line/parse.ts";
import { connectQmp } from "../../src/qemu/index.ts";
import { preflight } from "../../src/qemu/preflight/preflight.ts";
import { cprModes } from "../../src/qemu/vm/binary.ts";
import { askModes } from "../../src/qemu/vm/modes.ts";
import { optionsWithoutValue } from "../../src/qemu/vm/own-options.ts";
import { probeBinary } from "../../src/qemu/vm/probe.ts";
import { cprkit, repoRoot } from "../support/cli.ts";
import { expectNoFdLeak } from "../support/fds.ts";
import { isRoot, nobody, readableQemu, readableRepo } from "../support/other-user.ts";
import { describeQemu, usableAccel } from "../support/qemu.ts";
import { assertContiguous, createSerialLog } from "../support/serial-log.ts";
import { slowMigration, usualSpeed } from "../support/slow-migration.ts";
import { privateDir, startVm } from "../support/vm.ts";
import { codes, finding, look, withVm } from "./preflight-support.ts";

/** A program that stands for a new QEMU. */
function script(body: string): string {
  const path = join(privateDir(), "qemu");
  writeFileSync(path, `#!/bin/sh\n${body}\n`);
  chmodSync(path, 0o755);
  return path;
}

describeQemu("preflight of a VM that can be updated", ["10.0", "11.1"], (qemu) => {
  const updates = [
    ["10.0", "10.0", "cpr-transfer", "boot-sector", []],
    ["10.0", "11.1", "cpr-transfer", "firmware", []],
    ["11.1", "11.1", "cpr-transfer", "firmware", []],
    ["11.1", "11.1", "cpr-exec", "boot-sector", []],
    ["11.1", "10.0", "cpr-transfer", "firmware", ["going-back"]],
    // The test's memory is in a memory file, which cpr-reboot copies.
    ["10.0", "11.1", "cpr-reboot", "firmware", ["ram-copied"]],
  ] as const;
  for (const [from, to, mode, guest, expected] of updates) {
    it(`${from} to ${to} by ${mode}: ${expected.join(", ") || "no finding"}, and the guest counts on`, () =>
      expectNoFdLeak(async () => {
        const accel = await usableAccel(qemu[from]);
        const vm = await startVm({ qemu: qemu[from], machine: "pc-q35-10.0", accel, guest });
        await vm.listening();
        await vm.serial.waitForCount(5, 20_000);
        const report = await preflight({ qmp: vm.qmpPath }, { qemu: qemu[to], mode });
        expect(report.findings.map(({ code }) => code)).toEqual(expected);
        expect(report).toMatchObject({
          ok: true,
          mode,
          vm: { pid: vm.pid, machine: "pc-q35-10.0", runState: "running", qmp: vm.qmpPath },
        });
        expect(report.vm.version.startsWith(`${from}.`)).toBe(true);
        expect(report.new.version?.startsWith(`${to}.`)).toBe(true);
        expect(report.vm.fds.carried).toBeGreaterThanOrEqual(6);
        const qmp = await connectQmp(vm.qmpPath);
        expect((await qmp.execute("query-migrate-parameters")).mode).toBe("normal");
        expect(await qmp.execute("query-status")).toMatchObject({ running: true });
        expect(await qmp.execute("query-migrate")).toEqual({});
        await qmp.close();
        await vm.serial.waitForMore(10, 20_000);
        assertContiguous(vm.serial);
        await vm.kill();
      }));
  }

  for (const version of ["10.0", "11.1"] as const) {
    it(`QEMU ${version}: an option without a value, which its own help tells, swallows no monitor`, () =>
      withVm({ qemu: qemu[version], args: ["-enable-sync-profile", "-only-migratable"] }, async (vm) => {
        // The list of ours is left out here: only what QEMU says counts.
        const help = execFileSync(qemu[version], ["-help"], { encoding: "utf8" });
        const learned = optionsWithoutValue(help);
        for (const name of ["perfmap", "jitdump", "enable-sync-profile", "nodefaults", "S", "snapshot", "preconfig"])
          expect([...learned]).toContain(name);
        for (const name of ["M", "machine", "dtb", "m", "smp", "qmp", "drive", "hda", "fw_cfg", "kernel"])
          expect([...learned]).not.toContain(name);
        // What we think to know, and so do not ask for, is so.
        for (const name of learned)
          if (areKnownOptions([`-${name}`])) expect(parseOptions([`-${name}`, "next"])).toHaveLength(2);
        expect((await look(vm)).findings).toEqual([]);
      }));

    it(`QEMU ${version}: the modes that it takes are those of its QMP schema`, () =>
      withVm({ qemu: qemu[version] }, async (vm) => {
        const schema = JSON.stringify(await vm.ask((qmp) => qmp.execute("query-qmp-schema")));
        const inSchema = cprModes.filter((mode) => schema.includes(`"${mode}"`));
        expect(inSchema.length).toBe(version === "11.1" ? 3 : 2);
        expect((await probeBinary([qemu[version]])).abilities.modes).toEqual(inSchema);
        expect([...(await vm.ask((qmp) => askModes(qmp, "normal"))).keys()]).toEqual(inSchema);
      }));
  }

  it("the example switches on the codes", () =>
    withVm({ qemu: qemu["10.0"], machine: "pc-q35-10.0", memory: ["-m", "32"] }, async (vm) => {
      const words = ["examples/preflight-by-code.mjs", vm.qmpPath, qemu["11.1"]];
      const output = execFileSync(process.execPath, words, { cwd: repoRoot, encoding: "utf8" });
      expect(output).toMatch(
        /^QEMU 10\.0\.\d+, pc-q35-10\.0, running\n(restart this VM once with shared memory\n)+not yet\n$/,
      );
    }));

  it("takes the running program for the new one where none is named", () =>
    withVm({ qemu: qemu["11.1"] }, async (vm) => {
      const report = await look(vm);
      expect(report.findings).toEqual([]);
      expect(report.new.version).toBe(report.vm.version);
    }));
});

for (const version of ["10.0", "11.1"] as const) {
  describeQemu(`preflight finds what is in the way, QEMU ${version}`, [version], ({ [version]: qemu }) => {
    it("memory that can't be handed over", () =>
      withVm(
        {
          qemu,
          machine: "pc-q35-10.0",
          memory: ["-m", "32"],
          args: ["-object", "memory-backend-ram,id=private,size=1M"],
        },
        async (vm) => {
          const report = await look(vm);
          expect(codes(report)).toEqual(["aux-ram-share-off", "memory-not-shared", "memory-not-shared"]);
          const ids = report.findings.flatMap(({ code, subject }) => (code === "memory-not-shared" ? [subject] : []));
          expect(ids.toSorted()).toEqual(["pc.ram", "private"]);
          expect(finding(report, "aux-ram-share-off").remedy).toContain("aux-ram-share=on");
          // Nothing of that matters when the memory goes through a file.
          expect(codes(await look(vm, { mode: "cpr-reboot" }))).toEqual(["ram-copied", "ram-copied"]);
        },
      ));

    it("what QEMU itself reports, and what cpr-reboot would lose", () => {
      const shared = "memory-backend-memfd,id=shared,size=1M,share=on";
      const file = (dir: string) => `memory-backend-file,id=filed,size=1M,share=on,discard-data=on,mem-path=${dir}/ram`;
      const args = (dir: string) => ["-object", shared, "-device", "ivshmem-plain,memdev=shared", "-object", file(dir)];
      return withVm({ qemu, args }, async (vm) => {
        const report = await look(vm);
        expect(codes(report)).toEqual(["discard-data", "qemu-blocker"]);
        expect(finding(report, "qemu-blocker").message).toContain("ivshmem");
        const reboot = await look(vm, { mode: "cpr-reboot" });
        expect(codes(reboot)).toEqual(["discard-data", "qemu-blocker", "ram-copied", "ram-copied"]);
        expect(finding(reboot, "discard-data").subject).toBe("filed");
      });
    });

    it("capabilities that do not go with CPR", () =>
      withVm({ qemu }, async (vm) => {
        await vm.ask((qmp) =>
          qmp.execute("migrate-set-capabilities", { capabilities: [{ capability: "multifd", state: true }] }),
        );
        expect(finding(await look(vm), "capability-conflict").subject).toBe("multifd");
        expect(codes(await look(vm, { mode: "cpr-reboot" }))).toEqual(["ram-copied"]);
      }));

    it("a migration under way, and a VM that has been migrated", () =>
      withVm({ qemu }, async (vm) => {
        await vm.ask((qmp) => slowMigration(qmp, vm.pid, `${vm.dir}/slow`));
        const during = await expectNoFdLeak(() => preflight({ pid: vm.pid }));
        expect(codes(during)).toEqual(["migration-active"]);
        await vm.ask(async (qmp) => {
          await qmp.execute("migrate_cancel");
          while ((await qmp.execute("query-migrate")).status !== "cancelled") await qmp.execute("query-status");
          await qmp.execute("migrate-set-parameters", usualSpeed);
          await qmp.execute("migrate", { uri: `file:${vm.dir}/fast` });
          while ((await qmp.execute("query-status")).status !== "postmigrate") await qmp.execute("query-migrate");
        });
        const after = await look(vm);
        expect(codes(after)).toEqual(["run-state"]);
        expect(finding(after, "run-state").remedy).toContain("name the QEMU that runs it now");
      }));

    it("a QEMU that itself waits for a migration", () =>
      withVm({ qemu, args: ["-incoming", "defer"] }, async (vm) => {
        expect(finding(await look(vm), "run-state").subject).toBe("inmigrate");
      }));

    it("devices plugged in and unplugged since the start", () =>
      withVm({ qemu, args: ["-device", "qemu-xhci", "-device", "usb-tablet,id=gone"] }, async (vm) => {
        await vm.ask(async (qmp) => {
          const since = qmp.lastEventSeq();
          await qmp.execute("device_del", { id: "gone" });
          await qmp.execute("device_add", { driver: "usb-kbd", id: "come" });
          await qmp.waitForEvent("DEVICE_DELETED", { since, timeoutMs: 10_000 });
        });
        const report = await look(vm);
        expect(codes(report)).toEqual([]);
        expect(report.carried.map(({ subject }) => subject)).toEqual([
          ...["come", "gone", "cprkit/chardev/compat_monitor0"],
        ]);
      }));

    it("character devices: a client's connection, a pseudo-terminal, a port, standard output, a log", () => {
      const socket = (dir: string) => `unix:${dir}/other.sock,server=on,wait=off`;
      const args = (dir: string) => [
        ["-qmp", socket(dir), "-serial", "pty", "-monitor", "tcp:127.0.0.1:0,server=on,wait=off"],
        ["-serial", "stdio", "-parallel", `file:${dir}/log`],
      ];
      return withVm({ qemu, args: (dir) => args(dir).flat() }, async (vm) => {
        const other = await connectQmp(join(vm.dir, "other.sock"));
        const report = await look(vm);
        await other.close();
        expect([...codes(report)].sort()).toEqual(["chardev-client", "file-emptied", "port-taken", "pty", "stdio"]);
        expect(finding(report, "chardev-client").subject).toBe(join(vm.dir, "other.sock"));
        expect(finding(report, "pty").message).toContain("/dev/pts/");
        expect(finding(report, "port-taken").severity).toBe("blocker");
      });
    });

    it("temporary disks, hidden options; what was passed for an fd set is none", () => {
      const config = (dir: string) => {
        writeFileSync(join(dir, "more.conf"), '[device "r"]\n  driver = "virtio-rng-pci"\n');
        return ["-readconfig", join(dir, "more.conf")];
      };
      const disk = (dir: string) => {
        writeFileSync(join(dir, "disk"), new Uint8Array(1 << 20));
        return ["-snapshot", "-drive", `if=none,id=d,format=raw,file=${dir}/disk`];
      };
      const args = (dir: string) => ["-add-fd", "fd=3,set=1", ...config(dir), ...disk(dir)];
      return withVm({ qemu, args }, async (vm) => {
        const found = codes(await look(vm));
        expect(found).not.toContain("fd-option");
        expect(found).toContain("snapshot");
        // What is in the file is read, and nothing of it is in the way.
        expect(found).not.toContain("readconfig");
      });
    });

    it("disk images that were replaced, removed, or changed by a snapshot", () => {
      const disk = (dir: string, name: string) => {
        writeFileSync(join(dir, name), new Uint8Array(1 << 20));
        return ["-blockdev", `raw,node-name=${name},file.driver=file,file.filename=${join(dir, name)}`];
      };
      // A snapshot without a user would be closed at once.
      const used = ["-device", "virtio-blk-pci,drive=three"];
      const args = (dir: string) => [...disk(dir, "one"), ...disk(dir, "two"), ...disk(dir, "three"), ...used];
      return withVm({ qemu, args }, async (vm) => {
        const at = (name: string) => join(vm.dir, name);
        expect(codes(await look(vm))).toEqual([]);
        writeFileSync(at("new"), new Uint8Array(1 << 20));
        renameSync(at("new"), at("one"));
        rmSync(at("two"));
        await vm.ask((qmp) =>
          qmp.execute("blockdev-snapshot-sync", {
            "node-name": "three",
            "snapshot-file": at("overlay"),
            "snapshot-node-name": "top",
            format: "qcow2",
          }),
        );
        const report = await look(vm);
        expect([...codes(report)].sort()).toEqual(["file-missing", "file-replaced", "node-options"]);
        expect(finding(report, "file-replaced").subject).toBe(at("one"));
        expect(finding(report, "file-missing").subject).toBe(at("two"));
        expect(report.carried.map(({ what }) => what)).toContain(`node top: qcow2 ${at("overlay")}`);
        expect(report.ok).toBe(false);
      });
    });

    it("firmware changed or gone since the start", () => {
      const args = (dir: string) => {
        writeFileSync(join(dir, "firmware"), new Uint8Array(64 << 10));
        return ["-bios", join(dir, "firmware"), "-S"];
      };
      return withVm({ qemu, args }, async (vm) => {
        const path = join(vm.dir, "firmware");
        expect(codes(await look(vm))).toEqual([]);
        const later = Date.now() / 1000 + 60;
        utimesSync(path, later, later);
        expect(finding(await look(vm), "file-changed")).toMatchObject({ severity: "warning", subject: path });
        rmSync(path);
        expect(finding(await look(vm), "file-missing")).toMatchObject({ severity: "blocker", subject: path });
      });
    });

    it("sockets: a folder that is gone, a peer that is gone", async () => {
      const dir = privateDir();
      const peer = await createSerialLog(join(dir, "peer.sock"));
      mkdirSync(join(dir, "sub"));
      const args = [
        ["-vnc", `unix:${dir}/sub/s.sock`],
        ["-chardev", `socket,id=p,path=${peer.path}`, "-serial", "chardev:p"],
      ].flat();
      await withVm({ qemu, args, dir }, async (vm) => {
        expect(codes(await look(vm))).toEqual([]);
        await peer.close();
        rmSync(join(dir, "sub"), { recursive: true });
        const report = await look(vm);
        expect([...codes(report)].sort()).toEqual(["peer-not-listening", "socket-folder"]);
        expect(finding(report, "peer-not-listening").subject).toBe(peer.path);
        expect(finding(report, "socket-folder").subject).toBe(join(dir, "sub"));
      });
    });
  });
}

describeQemu("preflight of the new QEMU", ["10.0", "11.1"], (qemu) => {
  it("an alias that means another machine there, and a machine that it does not have", async () => {
    const properties = "aux-ram-share=on,memory-backend=ram0";
    await withVm({ qemu: qemu["10.0"], machine: `q35,${properties}` }, async (vm) => {
      expect((await look(vm)).findings).toEqual([]);
      const report = await look(vm, { qemu: qemu["11.1"] });
      expect(codes(report)).toEqual(["machine-alias"]);
      expect(finding(report, "machine-alias")).toMatchObject({ severity: "warning", subject: "pc-q35-10.0" });
    });
    await withVm({ qemu: qemu["11.1"], machine: `q35,${properties}` }, async (vm) => {
      const report = await look(vm, { qemu: qemu["10.0"] });
      expect(finding(report, "machine-missing").subject).toBe("pc-q35-11.1");
      expect(report.ok).toBe(false);
    });
    await withVm({ qemu: qemu["10.0"], machine: `microvm,${properties}` }, async (vm) => {
      expect(codes(await look(vm))).toEqual([]);
      expect(codes(await look(vm, { qemu: qemu["11.1"] }))).toEqual(["machine-unversioned"]);
    });
  });

  it("a device model, an object type and a mode that it does not have; a device whose state differs", () => {
    const card = (dir: string) => {
      writeFileSync(join(dir, "card"), new Uint8Array(1 << 20));
      writeFileSync(join(dir, "disk"), new Uint8Array(1 << 20));
      return [
        "-drive",
        `if=none,id=c,format=raw,file=${dir}/card`,
        "-drive",
        `if=none,id=d,format=raw,file=${dir}/disk`,
        "-device",
        "sdhci-pci",
        "-device",
        "sd-card,drive=c",
      ];
    };
    const args = (dir: string) => [
      ...["-device", "iommu-testdev,id=only11", "-device", "nvme,serial=1,drive=d", ...card(dir)],
      ...["-chardev", `socket,id=h,path=${dir}/h.sock,server=on,wait=off`, "-object", "monitor-hmp,id=hmp,chardev=h"],
    ];
    return withVm({ qemu: qemu["11.1"], args }, async (vm) => {
      const report = await look(vm, { qemu: qemu["10.0"] });
      expect(finding(report, "device-missing").subject).toBe("iommu-testdev");
      expect(finding(report, "object-missing").subject).toBe("monitor-hmp");
      expect(report.findings.find(({ subject }) => subject === "sd-card")).toMatchObject({
        code: "device-state",
        severity: "warning",
      });
      expect(report.findings.filter(({ subject }) => subject === "nvme")).toEqual([
        expect.objectContaining({ code: "device-state", severity: "blocker" }),
      ]);
      const exec = await look(vm, { qemu: qemu["10.0"], mode: "cpr-exec" });
      expect(codes(exec)).toContain("new-mode-unsupported");
      expect(codes(exec)).toContain("downgrade-exec");
    });
  });

  it("a mode that the running QEMU does not have", () =>
    withVm({ qemu: qemu["10.0"] }, async (vm) => {
      const report = await look(vm, { qemu: qemu["11.1"], mode: "cpr-exec" });
      expect(codes(report)).toEqual(["mode-unsupported"]);
      expect(finding(report, "mode-unsupported").remedy).toBe("use --mode cpr-transfer or cpr-reboot");
    }));

  it("an NVMe controller without a drive, whose save ends QEMU 11.1 and the guest", () => {
    const disk = (dir: string) => {
      writeFileSync(join(dir, "disk"), new Uint8Array(1 << 20));
      return ["-drive", `if=none,id=d,format=raw,file=${dir}/disk`, "-device", "nvme,serial=1,id=good,drive=d"];
    };
    const args = (dir: string) => [...disk(dir), "-device", "nvme,serial=2,id=bad"];
    return withVm({ qemu: qemu["11.1"], args }, async (vm) => {
      const report = await look(vm);
      expect(codes(report)).toEqual(["qemu-crash"]);
      expect(finding(report, "qemu-crash")).toMatchObject({ severity: "blocker", subject: "bad" });
    });
  });

  it("a sandbox that forbids exec", () =>
    withVm({ qemu: qemu["11.1"], args: ["-sandbox", "on,spawn=deny"] }, async (vm) => {
      expect(codes(await look(vm))).toEqual([]);
      expect(codes(await look(vm, { mode: "cpr-exec" }))).toEqual(["sandbox"]);
    }));

  it("a program that is missing, ends at once, hangs, or prints rubbish", () =>
    withVm({ qemu: qemu["11.1"] }, async (vm) => {
      const unusable = async (program: string) => {
        const report = await look(vm, { qemu: program, timeoutMs: 700 });
        expect(codes(report)).toEqual(["new-unusable"]);
        expect(report.new).toEqual({ program });
        return finding(report, "new-unusable").message;
      };
      expect(await unusable("/nonexistent/qemu")).toContain("can't be started");
      expect(await unusable(script("echo no such library >&2; exit 127"))).toContain("no such library");
      await unusable(script("exec sleep 60"));
      await unusable(script("echo rubbish; exec cat"));
      // Only the wrapper is known and ended; what it started holds its output open.
      const pidFile = join(privateDir(), "pid");
      await unusable(script(`sleep 60 & echo $! > ${pidFile}; wait`));
      process.kill(Number(readFileSync(pidFile, "utf8")), "SIGKILL");
      await expectNoFdLeak(async () => expect(await unusable("")).toContain("can't be started"));
    }));

  it("a program file that was replaced since the start", () => {
    const dir = privateDir();
    // The wrapper starts the program beside it; copies of both can be replaced.
    const wrapper = readFileSync(qemu["11.1"], "utf8");
    const root = join(dirname(realpathSync(qemu["11.1"])), "root");
    // It looks for its libraries in ../lib.
    mkdirSync(join(dir, "usr/bin"), { recursive: true });
    symlinkSync(join(root, "usr/lib"), join(dir, "usr/lib"));
    const program = join(dir, "usr/bin/qemu-system-x86_64");
    copyFileSync(join(root, "usr/bin/qemu-system-x86_64"), program);
    const start = script(
      wrapper
        .replace(/^#!.*\n/, "")
        .replace(/^root=.*$/m, `root=${root}`)
        .replace('exec "$root/usr/bin/qemu-system-x86_64"', `exec "${program}"`),
    );
    return withVm({ qemu: start, dir }, async (vm) => {
      expect(codes(await look(vm))).toEqual([]);
      renameSync(program, `${program}.old`);
      copyFileSync(`${program}.old`, program);
      rmSync(`${program}.old`);
      expect(codes(await look(vm))).toEqual(["binary-replaced"]);
      rmSync(program);
      expect([...codes(await look(vm))].sort()).toEqual(["binary-replaced", "new-unusable"]);
    });
  });
});

describeQemu("preflight of the host's limits", ["11.1"], ({ "11.1": qemu }) => {
  it("too few fds for the new QEMU", () =>
    withVm({ qemu }, async (vm) => {
      execFileSync("prlimit", ["--pid", String(vm.pid), "--nofile=30:4096"]);
      expect(finding(await look(vm), "nofile-new").message).toContain("RLIMIT_NOFILE 30");
      execFileSync("prlimit", ["--pid", String(vm.pid), "--nofile=1024:4096"]);
      expect(codes(await look(vm))).toEqual([]);
    }));

  it("a cgroup without room for the second process", async (context) => {
    const own = /^\d+:memory:(.*)$/m.exec(readFileSync("/proc/self/cgroup", "utf8"))?.[1];
    const group = `/sys/fs/cgroup/memory${own}/cprkit-test-${process.pid}`;
    try {
      mkdirSync(group);
    } catch (error) {
      context.skip(`no memory cgroup can be made here: ${String(error)}`);
    }
    try {
      await withVm({ qemu }, async (vm) => {
        writeFileSync(join(group, "cgroup.procs"), String(vm.pid));
        expect(codes(await look(vm))).toEqual([]);
        const used = Number(readFileSync(join(group, "memory.usage_in_bytes"), "utf8"));
        writeFileSync(join(group, "memory.limit_in_bytes"), String(used + (2 << 20)));
        expect(finding(await look(vm), "cgroup-memory").subject).toBe(group);
      });
    } finally {
      rmdirSync(group);
    }
  });

  it("tap interfaces: one that the new QEMU could not open, one with several queues", async (context) => {
    const name = `cprt${process.pid % 100000}`;
    const makeTap = (...more: string[]) =>
      execFileSync("ip", ["tuntap", "add", "dev", name, "mode", "tap", ...more], { stdio: "pipe" });
    const netdev = (more: string) => [
      ["-netdev", `tap,id=n,ifname=${name},script=no,downscript=no${more}`],
      ["-device", "virtio-net-pci,netdev=n"],
    ];
    try {
      makeTap();
    } catch (error) {
      context.skip(`no tap interface can be made here: ${String(error)}`);
    }
    try {
      const args = netdev("").flat();
      await withVm({ qemu, args }, async (vm) => {
        const report = await look(vm);
        expect(codes(report)).toEqual([]);
        expect(report.carried).toContainEqual({ subject: "cprkit/netdev/n", what: `tap ${name}: its fd handed over` });
        expect(codes(await look(vm, { mode: "cpr-exec" }))).toEqual([]);
        // A command of one's own that opens the interface anew: that it can't is so.
        const command = [qemu, ...args];
        expect(finding(await look(vm, { command }), "tap-held")).toMatchObject({ severity: "blocker", subject: name });
        const exec = await look(vm, { command, mode: "cpr-exec" });
        expect(finding(exec, "tap-held")).toMatchObject({ severity: "blocker", subject: name });
        await expect(withVm({ qemu, args }, async () => {})).rejects.toThrow("Device or resource busy");
      });
      execFileSync("ip", ["link", "del", name]);
      makeTap("multi_queue");
      await withVm({ qemu, args: netdev(",queues=2").flat() }, async (vm) => {
        expect(codes(await look(vm))).toEqual([]);
        const command = [qemu, ...netdev(",queues=2").flat()];
        expect(finding(await look(vm, { command }), "tap-queues").severity).toBe("warning");
        await withVm({ qemu, args: netdev(",queues=2").flat() }, async () => {});
      });
    } finally {
      execFileSync("ip", ["link", "del", name]);
    }
  });

  it("another user's QEMU, and fds in flight", async (context) => {
    if (!isRoot) context.skip("only root can start a QEMU as another user");
    const { uid } = nobody;
    const dir = privateDir();
    chownSync(dir, uid, uid);
    const many = Array.from({ length: 60 }, (_, index) => [
      "-object",
      `memory-backend-memfd,id=extra${index},size=4K,share=on`,
    ]);
    await withVm({ qemu: readableQemu(qemu), dir, uid, args: many.flat() }, async (vm) => {
      // Root can start one with that user's rights.
      execFileSync("prlimit", ["--pid", String(vm.pid), "--nofile=110:4096"], nobody);
      expect(codes(await look(vm))).toEqual(["nofile-in-flight"]);
    });
    // And the other way round: what may not be looked at is one clear error.
    await withVm({ qemu }, async (vm) => {
      for (const command of ["fds", "preflight"]) {
        const words = ["bin/cprkit", command, "--pid", String(vm.pid)];
        const result = spawnSync(process.execPath, words, { cwd: readableRepo(), ...nobody, encoding: "utf8" });
        expect(result).toMatchObject({ status: 4, stdout: "" });
        expect(result.stderr).toMatch(
          /^cprkit: \/proc\/\d+\/exe: not allowed; run as the process's own user, or as root\n$/,
        );
      }
    });
  });
});

describeQemu("preflight that can't finish", ["11.1"], ({ "11.1": qemu }) => {
  it("is aborted while the new QEMU hangs, and leaves neither an fd nor a process", () =>
    withVm({ qemu }, async (vm) => {
      const marker = join(vm.dir, "started");
      const hanging = script(`echo $$ > ${marker}.new; mv ${marker}.new ${marker}; exec sleep 60`);
      const abort = new AbortController();
      const options = { qemu: hanging, signal: abort.signal };
      await expectNoFdLeak(async () => {
        const failed = expect(preflight({ pid: vm.pid }, options)).rejects.toMatchObject({ code: "ERR_ABORTED" });
        while (!existsSync(marker)) await new Promise((resolve) => setTimeout(resolve, 5));
        abort.abort();
        await failed;
      });
      expect(existsSync(`/proc/${readFileSync(marker, "utf8").trim()}`)).toBe(false);
      expect((await look(vm)).findings).toEqual([]);
    }));

  it("says so when QEMU does not answer, or is gone", () =>
    withVm({ qemu }, async (vm) => {
      process.kill(vm.pid, "SIGSTOP");
      await expectNoFdLeak(() =>
        expect(preflight({ pid: vm.pid }, { timeoutMs: 300 })).rejects.toMatchObject({ code: "ERR_TIMEOUT" }),
      );
      process.kill(vm.pid, "SIGCONT");
      const wrong = preflight({ pid: process.pid });
      await expect(wrong).rejects.toThrow("has no QMP monitor on a UNIX socket on its command line");
      await expect(preflight({ qmp: join(vm.dir, "none") })).rejects.toMatchObject({ code: "ERR_QMP" });
    }));
});

describeQemu("cprkit preflight", ["11.1"], ({ "11.1": qemu }) => {
  it("exits with 0, 1, 2 or 4, and prints for people and as JSON", () =>
    withVm({ qemu, args: ["-serial", "pty"] }, async (vm) => {
      const plain = cprkit(["preflight", "--qmp", vm.qmpPath]);
      expect(plain).toMatchObject({ code: 0, stderr: "" });
      expect(plain.stdout).toContain("\nwarning  pty\n");
      expect(plain.stdout).toContain("\n         remedy: ");
      expect(plain.stdout).toMatch(/This VM can be updated: 0 blockers, 1 warning\.\n$/);
      expect(cprkit(["preflight", "--pid", String(vm.pid), "--strict"]).code).toBe(1);
      const blocked = cprkit(["preflight", "--pid", String(vm.pid), "--qemu", "/bin/false", "--json"]);
      expect(blocked.code).toBe(1);
      expect(JSON.parse(blocked.stdout)).toMatchObject({
        ok: false,
        mode: "cpr-transfer",
        findings: [{ code: "new-unusable", severity: "blocker" }, { code: "pty" }],
      });
      expect(cprkit(["preflight"])).toMatchObject({ code: 2, stdout: "" });
      expect(cprkit(["preflight", "--qmp", "/nonexistent.sock"])).toMatchObject({ code: 4, stdout: "" });
      expect(cprkit(["preflight", "--help"]).stdout).toContain("$ cprkit preflight --pid 4711");
    }));
});
