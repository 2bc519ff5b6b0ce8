// The demo where people run it: on a terminal, as a plain user in a folder of their own, and without a network.

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, describe, expect, test } from "vitest";
import { repoRoot } from "../support/cli.ts";
import { isRoot, nobody, readableQemu, readableRepo } from "../support/other-user.ts";
import { describeQemu } from "../support/qemu.ts";
import { killAllVms, privateDir } from "../support/vm.ts";

afterAll(killAllVms);

/** The QEMUs whose command line names the folder. */
function processesOf(folder: string): string[] {
  return readdirSync("/proc").filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, "latin1").includes(folder);
    } catch {
      return false;
    }
  });
}

describeQemu("the demo with a real VM", ["10.0", "11.1"], (qemu) => {
  test.skipIf(!existsSync("/usr/bin/script"))(
    "on a terminal: a line shows the counter while it runs; NO_COLOR is kept",
    () => {
      const words = `--qemu '${qemu["10.0"]}' --to '${qemu["11.1"]}' --rounds 1 --fds 30`;
      const command = `stty cols 80 rows 24; '${process.execPath}' bin/cprkit demo ${words}`;
      const { CI: _, ...env } = process.env;
      const shown = (colours: NodeJS.ProcessEnv) => {
        const { status, stdout } = spawnSync("/usr/bin/script", ["-qec", command, "/dev/null"], {
          cwd: repoRoot,
          stdio: ["ignore", "pipe", "pipe"],
          env: { ...env, TERM: "xterm-256color", ...colours },
          timeout: 60_000,
          encoding: "utf8",
        });
        expect(status).toBe(0);
        return stdout;
      };
      const coloured = shown({});
      const counters = [...coloured.matchAll(/counter +([\d,]+) {2}[▁▂▃▄▅▆▇█]+/g)].map(([, count = ""]) => count);
      expect(new Set(counters).size).toBeGreaterThan(5);
      expect(coloured).toContain("\u001b[32mnone lost, none twice");
      const plain = shown({ NO_COLOR: "1" });
      expect(plain).toContain("none lost, none twice");
      // What moves the cursor ends in other letters.
      const sequences = plain
        .split("\u001b[")
        .slice(1)
        .map((after) => /^[\d;?]*(.)/.exec(after)?.[1]);
      expect(sequences.length).toBeGreaterThan(10);
      expect(sequences.filter((letter) => letter === "m")).toEqual([]);
    },
  );

  /** What is seen in the folder for temporary files, and printed, when each part of the demo has begun. */
  const parts: Readonly<Record<string, (dir: string, shown: string) => boolean>> = {
    "the VM has a folder": (dir) => vmOf(dir) !== undefined,
    "QEMU listens": (dir) => existsSync(join(dir, vmOf(dir) ?? "", "qmp")),
    "the guest counts": (_, shown) => shown.includes("A real VM"),
    "the first update is under way": (dir) => existsSync(join(dir, vmOf(dir) ?? "", "state")),
    "a replacement is done": (_, shown) => / → .* ms/.test(shown),
    "the VM is gone": (_, shown) => shown.includes("none lost, none twice"),
  };
  const vmOf = (dir: string) => readdirSync(dir).find((name) => name.startsWith("cprkit-vm-"));

  describe("ended as a terminal does it, with all of its processes", () => {
    // Some time later, too: each part has its own places.
    const places = Object.entries(parts).flatMap(([part, begun]) =>
      [0, 250].map((laterMs) => ["SIGINT", part, laterMs, begun] as const),
    );
    const closed = ["SIGHUP", "the first update is under way", 0, parts["the first update is under way"]] as const;
    test.each([...places, closed])(
      "%s when %s, and %i ms later: no process and no file is left",
      async (name, _, laterMs, begun) => {
        const dir = privateDir();
        const words = ["--qemu", qemu["10.0"], "--to", qemu["11.1"], "--rounds", "1"];
        const child = spawn(process.execPath, ["bin/cprkit", "demo", ...words], {
          cwd: repoRoot,
          stdio: ["ignore", "pipe", "pipe"],
          env: { ...process.env, TMPDIR: dir },
          detached: true,
        });
        let [said, shown] = ["", ""];
        child.stderr.setEncoding("utf8").on("data", (text: string) => {
          said += text;
        });
        child.stdout.setEncoding("utf8").on("data", (text: string) => {
          shown += text;
        });
        const ended = once(child, "close");
        let vm: string | undefined;
        while (child.exitCode === null && !begun?.(dir, shown)) {
          vm ??= vmOf(dir);
          await delay(5);
        }
        vm ??= vmOf(dir);
        await delay(laterMs);
        const wasThere = child.exitCode === null;
        if (wasThere) process.kill(-(child.pid as number), name);
        const [code] = await ended;
        expect(vm).toBeDefined();
        expect(processesOf(vm as string)).toEqual([]);
        expect(readdirSync(dir)).toEqual([]);
        // It may have been done before the signal came, which is no fault.
        if (wasThere && code !== 0) {
          expect({ code, said }).toEqual({ code: 4, said: expect.stringContaining(`interrupted by ${name}`) });
        } else expect({ code, said }).toEqual({ code: 0, said: "" });
      },
    );
  });

  test.skipIf(!isRoot)("as a plain user, in a folder of mode 0700", () => {
    const home = join(privateDir(), "home");
    chmodSync(join(home, ".."), 0o711);
    mkdirSync(home);
    cpSync(readableRepo(), join(home, "cprkit"), { recursive: true });
    for (const name of ["", ...readdirSync(home, { recursive: true, encoding: "utf8" })]) {
      chownSync(join(home, name), nobody.uid, nobody.gid);
    }
    chmodSync(home, 0o700);
    const words = [
      "--qemu",
      readableQemu(qemu["10.0"]),
      "--to",
      readableQemu(qemu["11.1"]),
      "--rounds",
      "1",
      "--fds",
      "30",
    ];
    const { status, stdout, stderr } = spawnSync(process.execPath, ["bin/cprkit", "demo", "--json", ...words], {
      cwd: join(home, "cprkit"),
      ...nobody,
      env: { PATH: process.env["PATH"], HOME: home, TMPDIR: home },
      encoding: "utf8",
      timeout: 60_000,
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    const { realVm, handOver } = JSON.parse(stdout);
    expect(realVm.lost).toBe(0);
    expect(realVm.replacements.length).toBe(2);
    expect(handOver.same).toBe(30);
  });
});

describe("npm run demo without a network", () => {
  test("says so, and goes on with the rest", { timeout: 180_000 }, () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, ["scripts/run.mjs", "demo", "--fds", "30"], {
      cwd: repoRoot,
      env: {
        ...process.env,
        CPRKIT_CACHE: join(privateDir(), "cache"),
        // Nobody listens at the discard port.
        CPRKIT_DEBIAN_MIRROR: "http://127.0.0.1:9/debian",
        PATH: `${join(process.execPath, "..")}:/usr/bin:/bin`,
      },
      encoding: "utf8",
      timeout: 170_000,
    });
    expect(stderr).toContain("QEMU 10.0 and 11.1 could not be had: going on with what is there");
    expect(stdout).toMatch(
      existsSync("/usr/bin/qemu-system-x86_64") ? /A real VM|No real VM/ : /^No real VM: there is no qemu/m,
    );
    expect(stdout).toContain("found 30, the same open file 30");
    expect(status).toBe(0);
  });
});
