// cprkit status --watch: a line when something has changed, one drawing over the other on a terminal, and Ctrl-C ends it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, afterEach, expect, it } from "vitest";
import { connectQmp } from "../../src/qemu/qmp/client.ts";
import { repoRoot } from "../support/cli.ts";
import { expectSchema } from "../support/json-schema.ts";
import { describeQemu } from "../support/qemu.ts";
import { killAllVms, privateDir } from "../support/vm.ts";
import { endAll, startUpdatable } from "./update-support.ts";

afterEach(endAll);
afterAll(killAllVms);

const script = "/usr/bin/script";
if (!existsSync(script)) console.warn("skipped: status --watch on a terminal: there is no script(1) here");

it.skipIf(!existsSync(script))(
  "on a terminal what has not changed is not drawn again; Ctrl-C gives the cursor back [needs script(1)]",
  async () => {
    // script(1) in a job has a terminal without a size.
    const words = `stty cols 100 rows 24; exec ${process.execPath} bin/cprkit status --state-dir ${join(privateDir(), "none")} --watch 1`;
    const child = spawn(script, ["-qec", words, "/dev/null"], {
      ...{ cwd: repoRoot, stdio: ["pipe", "pipe", "inherit"] },
      env: { ...process.env, TERM: "xterm" },
    });
    let shown = "";
    let asked = false;
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      shown += text;
      if (asked || !shown.includes("no journal found")) return;
      asked = true;
      // After two more looks.
      setTimeout(() => child.stdin.write("\u0003"), 2_300);
    });
    const [code] = await once(child, "close");
    const esc = "\u001b";
    expect(code).toBe(0);
    expect(shown.split("no journal found")).toHaveLength(2);
    expect(shown.split(`${esc}[?25l`)).toHaveLength(2);
    expect(shown.trimEnd().endsWith(`${esc}[?25h`)).toBe(true);
  },
);

describeQemu("cprkit status --watch --json", ["10.0"], (qemu) => {
  it("prints a line for each change, and ends with Ctrl-C", async () => {
    const vm = await startUpdatable({ machine: "pc-q35-10.0", accel: "tcg", qemu: qemu["10.0"] });
    const words = ["bin/cprkit", "status", "--qmp", vm.qmp, "--state-dir", vm.stateDir, "--watch", "1", "--json"];
    const child = spawn(process.execPath, words, { cwd: repoRoot, stdio: ["ignore", "pipe", "inherit"] });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const next = async () => {
      const line = (await lines.next()).value as string;
      expectSchema("status", line);
      return JSON.parse(line);
    };
    expect(await next()).toMatchObject({ guest: "source", runState: "running" });
    // It lets the monitor go between two looks.
    const qmp = await connectQmp(vm.qmp);
    await qmp.execute("stop");
    await qmp.close();
    expect(await next()).toMatchObject({ guest: "source", runState: "paused" });
    child.kill("SIGINT");
    const [code] = await once(child, "exit");
    expect(code).toBe(0);
    expect((await lines.next()).done).toBe(true);
  });
});
