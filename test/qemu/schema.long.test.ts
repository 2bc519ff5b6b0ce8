// What the commands for a VM print with --json, compared with their schemas.

import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { afterEach, expect, it } from "vitest";
import { expectSchema } from "../support/json-schema.ts";
import { describeQemu } from "../support/qemu.ts";
import { endAll, startPlain } from "./update-support.ts";

afterEach(endAll);

const program = fileURLToPath(new URL("../../bin/cprkit", import.meta.url));

describeQemu("JSON of the commands for a VM", ["10.0", "11.1"], (qemu) => {
  it("is as the schemas say", async () => {
    const vm = await startPlain(qemu["10.0"]);
    const run = (...args: string[]) => {
      const { stdout, stderr } = spawnSync(process.execPath, [program, ...args, "--json"], {
        encoding: "utf8",
        timeout: 50_000,
      });
      expect(stdout, stderr).not.toBe("");
      return stdout;
    };
    const common = ["--qmp", vm.qmp, "--state-dir", vm.stateDir];
    expectSchema("demo", run("demo", "--fds", "20"));
    expectSchema("inspect-machine", run("inspect", "--qmp", vm.qmp));
    expectSchema("fds", run("fds", "--pid", String(vm.pid)));
    expectSchema("preflight", run("preflight", ...common, "--qemu", qemu["11.1"]));
    expectSchema("preflight", run("preflight", ...common, "--qemu", qemu["11.1"], "--mode", "cpr-exec"));
    expectSchema("update-plan", run("update", ...common, "--qemu", qemu["11.1"], "--dry-run"));
    expectSchema("status", run("status", ...common));
    expectSchema("update", run("update", ...common, "--qemu", qemu["11.1"]));
    expectSchema("status", run("status", ...common));
    expectSchema("status", run("status", "--state-dir", vm.stateDir));
  }, 90_000);
});
