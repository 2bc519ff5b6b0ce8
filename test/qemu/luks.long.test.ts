// An encrypted qcow2 image: QEMU derives its key while the guest stands still; cprkit says so before.
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { preflight } from "../../src/qemu/preflight/preflight.ts";
import { connectQmp } from "../../src/qemu/qmp/client.ts";
import { updateVm } from "../../src/qemu/update/update.ts";
import { describeQemu } from "../support/qemu.ts";
import { endAll, startUpdatable } from "./update-support.ts";

afterEach(endAll);

describeQemu("an encrypted image", ["10.0", "11.1"], (qemu) => {
  it("is carried, and its pause was told", async () => {
    const vm = await startUpdatable({
      machine: "pc-q35-10.0",
      accel: "tcg",
      qemu: qemu["10.0"],
      devices: true,
      extraArgs: () => ["-object", "secret,id=key0,data=only-for-this-test"],
    });
    const qmp = await connectQmp(vm.qmp);
    const create = async (options: object) => {
      const since = qmp.lastEventSeq();
      await qmp.execute("blockdev-create", { "job-id": "create", options });
      await qmp.waitForEvent(
        ({ name, data }) => name === "JOB_STATUS_CHANGE" && data["id"] === "create" && data["status"] === "concluded",
        { since, timeoutMs: 60_000 },
      );
      await qmp.execute("job-dismiss", { id: "create" });
    };
    const filename = join(vm.dir, "luks.qcow2");
    await create({ driver: "file", filename, size: 0 });
    await qmp.execute("blockdev-add", { driver: "file", "node-name": "luks-file", filename });
    const encrypt = { format: "luks", "key-secret": "key0" };
    await create({ driver: "qcow2", file: "luks-file", size: 16 << 20, encrypt });
    await qmp.execute("blockdev-add", { driver: "qcow2", "node-name": "luks0", file: "luks-file", encrypt });
    await qmp.execute("human-monitor-command", { "command-line": 'qemu-io luks0 "write -P 77 1M 64k"' });
    await qmp.close();
    const { findings } = await preflight({ qmp: vm.qmp }, { qemu: qemu["11.1"] });
    expect(findings.map(({ code, subject }) => `${code} ${subject}`)).toContain("luks-pause luks0");
    for (const version of ["11.1", "10.0"] as const) {
      const report = await updateVm({ qmp: vm.qmp }, { qemu: qemu[version], stateDir: vm.stateDir });
      expect(report.command.join(" ")).toContain('"key-secret":"key0"');
      const now = await connectQmp(vm.qmp);
      const line = 'qemu-io luks0 "read -P 77 1M 64k"';
      expect(await now.execute("human-monitor-command", { "command-line": line })).toBe("");
      await now.close();
    }
  }, 300_000);
});
