// The Ansible playbook of examples/orchestrators on real VMs, cprkit and Ansible killed meanwhile.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect, it } from "vitest";
import { processIds } from "../../src/linux/process/proc.ts";
import { counted } from "../qemu/ensure-support.ts";
import { endAll, runStates, startPlain } from "../qemu/update-support.ts";
import { cacheDir } from "../support/cache-dir.ts";
import { repoRoot } from "../support/cli.ts";
import { describeQemu } from "../support/qemu.ts";
import { privateDir } from "../support/vm.ts";

const folder = join(repoRoot, "examples/orchestrators");
/** As `npm run qemu` fetches it, with a Python of its own, else this machine's. */
const fetched = join(cacheDir(), "ansible");
const [ansible, python] = existsSync(join(fetched, "ansible-playbook"))
  ? [join(fetched, "ansible-playbook"), join(fetched, "python3")]
  : ["ansible-playbook", "/usr/bin/python3"];
const missing = "Ansible is missing: run `npm run qemu`";
const hasAnsible = spawnSync(ansible, ["--version"], { stdio: "ignore" }).status === 0;
if (!hasAnsible) console.warn(`skipped: the playbook: ${missing}`);

afterEach(endAll);

/** The processes of `cprkit ensure` for a VM. */
function ensuring(qmp: string): number[] {
  const words = (pid: number) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
    } catch {
      return [];
    }
  };
  return processIds().filter((pid) => words(pid).includes("ensure") && words(pid).includes(qmp));
}

describeQemu("the playbook", ["10.0", "11.1"], (qemu) => {
  it("three hosts, killed in the middle and run again: each VM is updated once", async (context) => {
    if (process.env["CPRKIT_REQUIRE_QEMU"] === "1") expect(hasAnsible, missing).toBe(true);
    context.skip(!hasAnsible, missing);
    const vms = [await startPlain(qemu["10.0"]), await startPlain(qemu["10.0"]), await startPlain(qemu["10.0"])];
    const wanted = counted(qemu["11.1"]);
    const dir = privateDir();
    const hosts = Object.fromEntries(
      vms.map(({ qmp, stateDir }, at) => [`h${at}`, { vms: [qmp], state_dir: stateDir }]),
    );
    const vars = { ansible_connection: "local", ansible_python_interpreter: python };
    writeFileSync(join(dir, "inventory.json"), JSON.stringify({ all: { vars, hosts } }));
    const program = join(dir, "cprkit");
    writeFileSync(program, `#!/bin/sh\nexec '${process.execPath}' '${join(repoRoot, "bin/cprkit")}' "$@"\n`, {
      mode: 0o755,
    });
    const words = ["-i", join(dir, "inventory.json"), join(folder, "playbook.yml")];
    words.push("-e", JSON.stringify({ qemu: wanted.program, cprkit: program }));
    const env = { ...process.env, HOME: dir, ANSIBLE_NOCOLOR: "1", LC_ALL: "C.UTF-8" };
    const first = spawn(ansible, words, { env, stdio: "ignore", detached: true });
    const ended = new Promise((resolve) => first.once("exit", resolve));
    // The first host's update is under way: everything that Ansible has started is killed.
    while (ensuring(vms[0]?.qmp ?? "").length === 0 || wanted.starts() === 0) {
      if (first.exitCode !== null) throw new Error(`ansible-playbook ended with ${first.exitCode}`);
      await sleep(20);
    }
    for (const pid of ensuring(vms[0]?.qmp ?? "")) process.kill(pid, "SIGKILL");
    process.kill(-(first.pid ?? 0), "SIGKILL");
    await ended;
    const before = wanted.starts();
    const second = spawnSync(ansible, words, { env, encoding: "utf8" });
    expect({ status: second.status, stdout: second.stdout }).toMatchObject({ status: 0 });
    expect(second.stdout).toMatch(/failed=0/);
    for (const vm of vms) expect([...(await runStates(vm)).values()]).toEqual(["running"]);
    // Of the one that was cut off, perhaps once more.
    expect(wanted.starts() - before).toBeGreaterThanOrEqual(2);
    expect(wanted.starts() - before).toBeLessThanOrEqual(3);
    const third = spawnSync(ansible, words, { env, encoding: "utf8" });
    expect(third.stdout.match(/changed=0/g)).toHaveLength(3);
  }, 600_000);
});
