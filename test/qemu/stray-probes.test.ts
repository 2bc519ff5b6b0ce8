// A QEMU that was only asked what it can do does not outlive a cprkit that was killed for long.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, expect, it } from "vitest";
import { isRunning, processIdentity } from "../../src/linux/index.ts";
import { abortUpdate, resumeUpdate } from "../../src/qemu/update/recover.ts";
import { probeBinary } from "../../src/qemu/vm/probe.ts";
import { repoRoot } from "../support/cli.ts";
import { killAllVms, privateDir } from "../support/vm.ts";

afterAll(killAllVms);

/**
 * A process that asks a program which never answers; and that program's process, or with "fork" a child of it, to which
 * the kernel's death signal does not pass on.
 */
async function startAsking(how: "exec" | "fork"): Promise<{ readonly asker: ChildProcess; readonly probe: number }> {
  const dir = privateDir();
  const [program, pidFile] = [join(dir, "program"), join(dir, "pid")];
  const write = (pid: string) => `echo ${pid} > ${pidFile}.new; mv ${pidFile}.new ${pidFile}`;
  const body = how === "exec" ? `${write("$$")}; exec sleep 1000` : `sleep 1000 & ${write("$!")}; wait`;
  writeFileSync(program, `#!/bin/sh\n${body}\n`, { mode: 0o700 });
  const module = join(repoRoot, "dist/qemu/vm/probe.js");
  const script = `const { probeBinary } = await import(${JSON.stringify(module)});
    await probeBinary([${JSON.stringify(program)}], { timeoutMs: 60000 });`;
  const asker = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: "ignore" });
  const end = performance.now() + 20_000;
  while (!existsSync(pidFile)) {
    if (performance.now() > end) throw new Error("the program was not started");
    await sleep(10);
  }
  return { asker, probe: Number(readFileSync(pidFile, "utf8")) };
}

it("ends with its asker, if setpriv can have the kernel do that", async (context) => {
  const can = spawnSync("setpriv", ["--pdeathsig", "KILL", "--", "true"]).status === 0;
  context.skip(!can, "setpriv has no --pdeathsig here");
  const { asker, probe } = await startAsking("exec");
  const identity = processIdentity(probe);
  expect(isRunning(identity)).toBe(true);
  asker.kill("SIGKILL");
  for (let wait = 0; isRunning(identity) && wait < 200; wait++) await sleep(10);
  expect(isRunning(identity)).toBe(false);
});

const next: readonly (readonly [who: string, act: () => Promise<unknown>, error: RegExp])[] = [
  ["one who asks", () => probeBinary(["/bin/false"]), /asked what it can do/],
  ["--abort", () => abortUpdate({ pid: process.pid }, { stateDir: privateDir() }), /no unfinished update/],
  ["--resume", () => resumeUpdate({ pid: process.pid }, { stateDir: privateDir() }), /no unfinished update/],
];

// A cprkit of another test that asks at that moment may be the one that ends it: then this one is tried again.
const again = { retry: 5 };

it.each(next)("is ended by the next %s, and one whose asker lives is not", again, async (_, act, error) => {
  const [killed, living] = [await startAsking("fork"), await startAsking("exec")];
  const [stray, other] = [processIdentity(killed.probe), processIdentity(living.probe)];
  try {
    const exited = new Promise((resolve) => killed.asker.once("exit", resolve));
    killed.asker.kill("SIGKILL");
    await exited;
    expect(isRunning(stray)).toBe(true);
    await expect(act()).rejects.toThrow(error);
    for (let wait = 0; isRunning(stray) && wait < 200; wait++) await sleep(10);
    expect(isRunning(stray)).toBe(false);
    expect(isRunning(other)).toBe(true);
  } finally {
    for (const { asker } of [killed, living]) asker.kill("SIGKILL");
    for (const identity of [stray, other]) if (isRunning(identity)) process.kill(identity.pid, "SIGKILL");
  }
});
