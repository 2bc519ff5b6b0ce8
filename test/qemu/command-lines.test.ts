// VMs as Proxmox VE, libvirt and KubeVirt start them, there and back.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmdirSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, expect, it } from "vitest";
import { updateVm } from "../../src/qemu/update/update.ts";
import { addHugePages } from "../support/huge-pages.ts";
import { describeQemu } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { type CommandLine, commandLines, hugePages } from "./command-lines.ts";
import { endAll, startUpdatable } from "./update-support.ts";

afterEach(endAll);

const takeBack = addHugePages(16);

function shell(command: string): void {
  execFileSync("/bin/sh", ["-c", command]);
}

afterAll(() => takeBack?.());

describeQemu("a VM as it is started by", ["10.0", "11.1"], (qemu) => {
  it.skipIf(takeBack === undefined)(
    "huge pages in a memfd and in a folder: 10.0 -> 11.1 [needs huge pages]",
    async () => {
      const folder = mkdtempSync(join(tmpdir(), "huge-"));
      shell(`mount -t hugetlbfs -o pagesize=2M none ${folder}`);
      try {
        await update(qemu, hugePages(folder), ["11.1"]);
      } finally {
        await endAll();
        // The threads of a QEMU that was killed let go one after the other.
        shell(`for i in $(seq 100); do umount ${folder} 2>/dev/null && exit; sleep 0.1; done; umount ${folder}`);
        rmdirSync(folder);
      }
    },
  );

  for (const commandLine of commandLines) {
    it(`${commandLine.name}: 10.0 -> 11.1 -> 10.0`, () => update(qemu, commandLine, ["11.1", "10.0"]));
  }
});

type Version = "10.0" | "11.1";

async function update(
  qemu: Readonly<Record<Version, string>>,
  { words, machine = "pc-q35-10.0", listener, warning }: CommandLine,
  later: readonly Version[],
): Promise<void> {
  const heard: string[] = [];
  const server = createServer((client) => {
    client
      .on("error", () => {})
      .on("data", (data) => {
        const { major, minor } = JSON.parse(data.toString().split("\n")[0] ?? "").QMP.version.qemu;
        heard.push(`${major}.${minor}`);
      });
  });
  const vm = await startUpdatable({
    ...{ machine, accel: "tcg", qemu: qemu["10.0"] },
    rewrite: (_, dir) => {
      if (listener !== undefined) server.listen(join(dir, listener));
      return words(dir, { boot: "firmware", kernel: [] });
    },
  });
  for (const version of later) {
    const report = await updateVm({ qmp: vm.qmp }, { qemu: qemu[version], stateDir: vm.stateDir });
    // 11.1's SCSI disks may have a state of reservations; 10.0 says so only of what it is sent.
    const expected = /is older than the running|^scsi-hd: its state may not load/;
    const others = report.warnings.filter((text) => !expected.test(text));
    expect(others.filter((text) => warning?.test(text) !== true)).toEqual([]);
    expect(others).toHaveLength(warning === undefined ? 0 : 1);
    expect(report.comparison.before?.differences).toEqual([]);
    expect(report.comparison.after?.differences).toEqual([]);
    expect(report.command).not.toContain("-readconfig");
  }
  await vm.serial.waitForMore(20, 20_000);
  assertContiguous(vm.serial);
  if (listener === undefined) return;
  // Whoever listens for events hears of each QEMU.
  expect(heard).toEqual(["10.0", ...later]);
  server.close();
}
