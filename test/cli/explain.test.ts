// cprkit explain on the command line.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { cprkit, repoRoot } from "../support/cli.ts";

const folder = mkdtempSync(join(tmpdir(), "cprkit-explain-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const capture = join(repoRoot, "test/fixtures/migration/cpr-main-microvm-10.0.mig");
const said = `qemu: Machine type received is 'pc-q35-8.0' and local is 'pc-q35-7.2'
qemu: load of migration failed: Invalid argument
`;

test("a log from standard input or a file, in words and as JSON", () => {
  const input = Buffer.from(said);
  const { code, stdout, stderr } = cprkit(["explain"], { input });
  expect({ code, stderr }).toEqual({ code: 1, stderr: "" });
  expect(stdout.split("\n")).toEqual([
    "configuration: the stream is of the machine type pc-q35-8.0, and this machine is pc-q35-7.2  [machine-type]",
    expect.stringMatching(/^ {2}why {3}a machine type fixes/),
    expect.stringMatching(/^ {2}do {4}start the destination with -machine pc-q35-8\.0/),
    expect.stringMatching(/^ {2}said {2}Machine type received is .* \(line 1\)$/),
    "",
  ]);
  const log = join(folder, "vm.log");
  writeFileSync(log, said);
  const json = cprkit(["explain", capture, "--log", log, "--json"]);
  expect(json.code).toBe(1);
  expect(JSON.parse(json.stdout)).toMatchObject({ explanations: [{ code: "machine-type", line: 1 }] });
});

test("nothing that failed: exit code 0; what can't be read is named", () => {
  expect(cprkit(["explain"], { input: Buffer.from("all is well\n") })).toMatchObject({
    code: 0,
    stdout: "the log has no failed load that is known\n",
  });
  expect(cprkit(["explain", "-"], { input: Buffer.from(said) })).toMatchObject({ code: 2 });
  expect(cprkit(["explain", "--log", join(folder, "none")])).toMatchObject({ code: 4 });
  const text = join(folder, "text");
  writeFileSync(text, "no stream");
  expect(cprkit(["explain", text], { input: Buffer.from(said) })).toMatchObject({ code: 3 });
});

test("what a log holds does not reach the terminal as it is", () => {
  const input = Buffer.from("qemu: Unknown savevm section or instance '\x1b[31mx' 0. Make sure\n");
  expect(cprkit(["explain"], { input }).stdout).toContain("\\x1b[31mx: the stream has the state of this device");
});
