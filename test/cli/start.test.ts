// bin/cprkit keeps V8's compiled code in the user's cache folder, and trusts nothing there that is not whole and its own.
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { repoRoot } from "../support/cli.ts";
import { isRoot, nobody } from "../support/other-user.ts";
import { privateDir } from "../support/vm.ts";

const stream = join(repoRoot, "test/fixtures/migration/cpr-main-microvm-10.0.mig");

function start(cache: string, env: NodeJS.ProcessEnv = {}, words: readonly string[] = ["inspect", stream]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, ["bin/cprkit", ...words], {
    ...{ cwd: repoRoot, encoding: "utf8", timeout: 60_000 },
    env: { ...process.env, CPRKIT_NO_CODE_CACHE: "", XDG_CACHE_HOME: cache, ...env },
  });
  return { status, stdout, stderr };
}

const codeFiles = (cache: string) =>
  existsSync(join(cache, "cprkit"))
    ? readdirSync(cache, { recursive: true, encoding: "utf8" })
        .map((name) => join(cache, name))
        .filter((path) => statSync(path).isFile())
    : [];

it("compiles once; what is kept is private, and a start that finds it writes nothing", () => {
  const cache = privateDir();
  const first = start(cache);
  expect(first).toMatchObject({ status: 0, stderr: "", stdout: expect.stringContaining("QEMU migration stream") });
  const files = codeFiles(cache);
  expect(files).toHaveLength(1);
  for (const file of files) expect(statSync(file).mode & 0o777).toBe(0o600);
  const written = files.map((file) => statSync(file).mtimeMs);
  expect(start(cache)).toEqual(first);
  expect(files.map((file) => statSync(file).mtimeMs)).toEqual(written);
});

it("code that is damaged, cut off or a link is made anew, and the answer is the same", () => {
  const cache = privateDir();
  const first = start(cache);
  const help = start(cache, {}, ["--help"]);
  const files = codeFiles(cache);
  expect(files).toHaveLength(2);
  for (const [at, file] of files.entries()) {
    const bytes = readFileSync(file);
    const middle = bytes.length >> 1;
    bytes[middle] = (bytes[middle] ?? 0) ^ 0xff;
    writeFileSync(file, at % 2 === 0 ? bytes : bytes.subarray(0, middle));
  }
  const broken = files.map((file) => readFileSync(file));
  expect(start(cache)).toEqual(first);
  expect(start(cache, {}, ["--help"])).toEqual(help);
  for (const [at, file] of files.entries()) expect(readFileSync(file).equals(broken[at] as Buffer)).toBe(false);
});

it("what a refused command or its help has compiled is not kept for the command", () => {
  const cache = privateDir();
  expect(start(cache, {}, ["inspect", "/nonexistent"]).status).toBe(4);
  expect(codeFiles(cache)).toEqual([]);
  start(cache, {}, ["inspect", "--help"]);
  start(cache, { NODE_OPTIONS: "--no-opt" });
  const before = codeFiles(cache);
  start(cache);
  expect(codeFiles(cache)).toHaveLength(before.length + 1);
});

it("a folder that others may write to is not used, nor one that can't be written to", () => {
  const open = privateDir();
  mkdirSync(join(open, "cprkit"));
  chmodSync(join(open, "cprkit"), 0o777);
  expect(start(open).status).toBe(0);
  expect(codeFiles(open)).toEqual([]);
  expect(start("/proc").status).toBe(0);
  const off = privateDir();
  expect(start(off, { CPRKIT_NO_CODE_CACHE: "1" }).status).toBe(0);
  expect(codeFiles(off)).toEqual([]);
});

it.runIf(isRoot)("what another user has put there is not run [needs root]", () => {
  const cache = privateDir();
  const first = start(cache);
  for (const file of codeFiles(cache)) chownSync(file, nobody.uid, nobody.gid);
  expect(start(cache)).toEqual(first);
  // Made anew, by us.
  for (const file of codeFiles(cache)) expect(statSync(file).uid).toBe(0);
  const theirs = privateDir();
  chownSync(theirs, nobody.uid, nobody.gid);
  expect(start(theirs).status).toBe(0);
  expect(readdirSync(theirs)).toEqual([]);
});

it("the cache is in HOME if that is ours alone", () => {
  const home = privateDir();
  expect(start("", { HOME: home }).status).toBe(0);
  expect(codeFiles(join(home, ".cache"))).toHaveLength(1);
  const open = privateDir();
  chmodSync(open, 0o777);
  expect(start("", { HOME: open }, ["--version"]).status).toBe(0);
  expect(readdirSync(open)).toEqual([]);
});
