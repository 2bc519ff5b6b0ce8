// What a user does wrong, and what the system does to a user: one line, the documented exit code, nothing lost.

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { cprkit, repoRoot } from "../support/cli.ts";

const cpr = join(repoRoot, "test/fixtures/cpr/q35-min-10.0.bin");
const folder = mkdtempSync(join(tmpdir(), "cprkit-adverse-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const commands = [
  "inspect",
  "diff",
  "check",
  "convert",
  "tap",
  "preflight",
  "fds",
  "update",
  "status",
  "demo",
] as const;

/** Runs the command line with its standard output (or error) at `path`. */
function withOutputAt(path: string, args: readonly string[], stream: "stdout" | "stderr" = "stdout") {
  const fd = openSync(path, "w");
  try {
    const { status, stdout, stderr } = spawnSync(process.execPath, ["bin/cprkit", ...args], {
      cwd: repoRoot,
      stdio: ["ignore", stream === "stdout" ? fd : "pipe", stream === "stderr" ? fd : "pipe"],
      timeout: 60_000,
      encoding: "utf8",
    });
    return { code: status, stdout, stderr };
  } finally {
    closeSync(fd);
  }
}

describe("usage", () => {
  test.each(commands)("%s: a wrong option is one line and exit code 2, as JSON where that is asked for", (name) => {
    const plain = cprkit([name, "--nosuch"]);
    expect(plain.code).toBe(2);
    expect(plain.stdout).toBe("");
    expect(plain.stderr).toMatch(/^cprkit: .*`cprkit \w+ --help` shows the usage\n$/);
    const json = cprkit([name, "--json", "--nosuch"]);
    expect(json.code).toBe(2);
    expect(JSON.parse(json.stderr)).toEqual({ error: { code: "ERR_USAGE", message: expect.any(String) } });
  });

  test.each(commands)("%s: --help has an example", (name) => {
    const { code, stdout } = cprkit([name, "--help"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/Example/);
    expect(stdout).toContain(`$ cprkit ${name}`);
    expect(cprkit(["help", name])).toEqual({ code: 0, stdout, stderr: "" });
  });

  test("a command that does not exist is named, also one that every object has", () => {
    expect(cprkit(["insepct"]).stderr).toContain("Did you mean inspect?");
    expect(cprkit(["constructor"])).toMatchObject({ code: 2, stderr: expect.stringContaining("unknown command") });
  });
});

describe("output that can't be written", () => {
  test("a full disk is exit code 4 and one line", () => {
    for (const args of [["inspect", cpr], ["--help"], ["status", "--state-dir", folder]]) {
      const { code, stderr } = withOutputAt("/dev/full", args);
      expect({ args, code }).toEqual({ args, code: 4 });
      expect(stderr).toMatch(/^cprkit: cannot write standard output: ENOSPC.*\n$/);
    }
  });

  test("messages that can't be written change no exit code", () => {
    expect(withOutputAt("/dev/full", ["nosuch"], "stderr").code).toBe(2);
    expect(withOutputAt("/dev/full", ["inspect", "/nonexistent"], "stderr").code).toBe(4);
  });

  test("a terminal without a size gets no spinner, and ends", (context) => {
    if (!existsSync("/usr/bin/script")) context.skip("there is no script(1) to make a terminal");
    // Its input is no terminal, so script has no size to pass on: 0 rows and 0 columns.
    const command = `${process.execPath} bin/cprkit demo --fds 50`;
    const { status, stdout } = spawnSync("/usr/bin/script", ["-qec", command, "/dev/null"], {
      cwd: repoRoot,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, TERM: "xterm", CI: "", PATH: "/nonexistent" },
      timeout: 60_000,
      killSignal: "SIGKILL",
      encoding: "utf8",
    });
    expect(status).toBe(0);
    expect(stdout).toContain("found 50, the same open file 50");
    expect(stdout).not.toContain("\u001b[1A");
  });
});

describe("input", () => {
  test("diff reads one of the two from a pipe, and refuses both", () => {
    const input = readFileSync(cpr);
    expect(cprkit(["diff", "-", cpr], { input })).toMatchObject({ code: 0, stdout: "no difference\n" });
    for (const name of ["diff", "check"]) {
      const { code, stderr } = cprkit([name, "-", "-"], { input });
      expect(code).toBe(2);
      expect(stderr).toContain("name a file");
    }
  });

  test("diff and check say which of the two files is wrong", () => {
    const empty = join(folder, "empty");
    writeFileSync(empty, "");
    for (const name of ["diff", "check"]) {
      const { code, stderr } = cprkit([name, empty, empty]);
      expect(code).toBe(3);
      expect(stderr).toContain(`cprkit: ${empty} at byte 0`);
    }
    const check = cprkit(["check", cpr, empty]);
    expect(check.code).toBe(3);
    expect(check.stderr).toContain("this is a CPR state");
  });

  test("a name's control characters do not reach the terminal", () => {
    const { code, stderr } = cprkit(["inspect", join(folder, "a\u001b[31m\nb")]);
    expect(code).toBe(4);
    expect(stderr).toContain("a\\x1b[31m\\x0ab: no such file or directory (ENOENT)\n");
  });

  test("--ram-block overwrites neither the stream itself nor a file for a block that isn't there", () => {
    const stream = join(folder, "vm.mig");
    const output = join(folder, "kept");
    copyFileSync(join(repoRoot, "test/fixtures/migration/cpr-main-microvm-10.0.mig"), stream);
    writeFileSync(output, "kept");
    const before = readFileSync(stream);
    expect(cprkit(["inspect", stream, "--ram-block", "pc.ram", "-o", stream]).code).toBe(2);
    expect(readFileSync(stream).equals(before)).toBe(true);
    expect(cprkit(["inspect", stream, "--ram-block", "nosuch", "-o", output]).code).toBe(2);
    expect(readFileSync(output, "utf8")).toBe("kept");
  });
});

describe("cprkit tap", () => {
  const startTap = () => {
    const paths = ["--listen", join(folder, "tap.sock"), "--connect", join(folder, "new.sock")];
    const child = spawn(process.execPath, ["bin/cprkit", "tap", ...paths], {
      cwd: repoRoot,
      stdio: ["ignore", "pipe", "pipe"],
    });
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    const ended = once(child, "close").then(([code]) => ({ code: code as number | null, stderr }));
    return { child, ended };
  };

  test.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)("%s: one line, exit code 4, no socket left", async (signal) => {
    const { child, ended } = startTap();
    await once(child.stdout, "data");
    child.kill(signal);
    expect(await ended).toEqual({
      code: 4,
      stderr: `cprkit: interrupted by ${signal}: nobody had connected to ${join(folder, "tap.sock")}\n`,
    });
    expect(existsSync(join(folder, "tap.sock"))).toBe(false);
  });

  test("goes on when nobody reads its output any more", async () => {
    const { child, ended } = startTap();
    await once(child.stdout, "data");
    child.stdout.destroy();
    const source = connect(join(folder, "tap.sock"));
    await once(source, "connect");
    // The name goes when the old QEMU is there; then the tap says so, to nobody.
    while (existsSync(join(folder, "tap.sock"))) await new Promise((resolve) => setTimeout(resolve, 10));
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(child.exitCode).toBeNull();
    child.kill("SIGINT");
    expect(await ended).toMatchObject({ code: 4, stderr: expect.stringContaining("the old QEMU keeps the guest") });
    source.destroy();
  });

  test("refuses one socket for both sides", () => {
    const { code, stderr } = cprkit(["tap", "--listen", "a.sock", "--connect", "./a.sock"]);
    expect(code).toBe(2);
    expect(stderr).toContain("name the same socket");
  });
});

test("cprkit fds says so when the process looks like no QEMU", async () => {
  const child = spawn("sleep", ["60"], { stdio: "ignore" });
  try {
    await once(child, "spawn");
    const { code, stderr } = cprkit(["fds", "--pid", String(child.pid)]);
    expect(code).toBe(0);
    expect(stderr).toMatch(/^cprkit: warning: process \d+ runs \S+: is it a QEMU\?/);
  } finally {
    child.kill();
    await once(child, "close");
  }
});
