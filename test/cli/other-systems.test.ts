// Off Linux: what makes no system call works, all else is one clear error. The system's name is set before cprkit starts.

import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";
import { repoRoot } from "../support/cli.ts";

const onWindows = (...words: string[]) =>
  spawnSync(
    process.execPath,
    ["--import", 'data:text/javascript,Object.defineProperty(process, "platform", { value: "win32" })', ...words],
    { cwd: repoRoot, encoding: "utf8", timeout: 30_000 },
  );

test("a stream is inspected", () => {
  const file = join(repoRoot, "test/fixtures/cpr/q35-min-10.0.bin");
  const { status, stdout, stderr } = onWindows("bin/cprkit", "inspect", "--json", file);
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  expect(JSON.parse(stdout)).toMatchObject({ format: "qcpr", bytes: 151 });
});

test.each([
  ["fds", "--pid", "1"],
  ["preflight", "--pid", "1"],
  ["status"],
  ["update", "--pid", "1", "--qemu", "/bin/true"],
  ["tap", "--listen", "a.sock", "--connect", "b.sock"],
])("%s says that it needs Linux", (...words) => {
  const { status, stdout, stderr } = onWindows("bin/cprkit", ...words);
  expect({ status, stdout }).toEqual({ status: 4, stdout: "" });
  expect(stderr).toMatch(/^cprkit: .*Linux.* not on win32-.*\n$/);
});

test.each(["preflight", "update", "inspect"])(
  "%s without koffi says that koffi is missing, and nothing of a monitor",
  (command) => {
    const without = `import Module from "node:module"; const load = Module._load;
    Module._load = (name, ...rest) => { if (name === "koffi") throw new Error("gone"); return load(name, ...rest); };`;
    const words = [
      "--import",
      `data:text/javascript,${encodeURIComponent(without)}`,
      "bin/cprkit",
      command,
      "--qmp",
      "/q",
    ];
    const { status, stderr } = spawnSync(process.execPath, words, { cwd: repoRoot, encoding: "utf8", timeout: 30_000 });
    expect(stderr).toMatch(/^cprkit: the npm package koffi, which cprkit makes system calls through, cannot be loaded/);
    expect(status).toBe(4);
  },
);

test("the package can be imported whole", () => {
  const script = 'const all = await import("./dist/index.js"); console.log(typeof all.vmstate)';
  expect(onWindows("--input-type=module", "--eval", script)).toMatchObject({ status: 0, stdout: "function\n" });
});
