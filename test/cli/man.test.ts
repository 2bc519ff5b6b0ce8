// cprkit man, and the manual pages that the build writes: one for each command, without a complaint of groff's.

import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { cprkit, repoRoot } from "../support/cli.ts";

const folder = mkdtempSync(join(tmpdir(), "cprkit-man-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const help = cprkit(["--help"]).stdout;
const commands = [...help.matchAll(/^ {2}([a-z]+) {2,}/gm)].map(([, name]) => name as string);
const pages = ["cprkit.1", ...commands.filter((name) => name !== "help").map((name) => `cprkit-${name}.1`)].sort();

it("writes a page for each command, which package.json names", () => {
  expect(cprkit(["man", "--output", folder])).toEqual({ code: 0, stdout: "", stderr: "" });
  expect(readdirSync(folder).sort()).toEqual(pages);
  const { man } = JSON.parse(readFileSync(join(repoRoot, "package.json"), "utf8"));
  expect([...man].sort()).toEqual(pages.map((name) => `man/${name}`));
  // Those of the build.
  expect(readdirSync(join(repoRoot, "man")).sort()).toEqual(pages);
});

it("says what --help says, examples and exit codes included", () => {
  const { stdout } = cprkit(["man", "update"]);
  for (const heading of ["NAME", "SYNOPSIS", "OPTIONS", "EXAMPLES", "EXIT STATUS"]) {
    expect(stdout).toContain(`.SH "${heading}"`);
  }
  expect(stdout).toContain(".B \\-\\-state\\-dir <folder>\nwhere journals and logs are kept");
  expect(stdout).toContain("\n$ cprkit update \\-\\-qmp /run/vm1/qmp.sock");
  expect(cprkit(["man", "updat"])).toMatchObject({ code: 2, stderr: expect.stringContaining("perhaps update") });
  const all = cprkit(["man"]).stdout;
  for (const heading of ["COMMANDS", "ENVIRONMENT", "FILES", "EXIT STATUS"]) expect(all).toContain(`.SH "${heading}"`);
});

const hasGroff = spawnSync("groff", ["--version"]).status === 0;
if (!hasGroff) console.warn("skipped: manual pages as groff sees them: there is no groff here");
it.skipIf(!hasGroff)("groff has nothing to complain about, and shows each word of an option [needs groff]", () => {
  cprkit(["man", "--output", folder]);
  const files = pages.map((name) => join(folder, name));
  const { stdout, stderr, status } = spawnSync("groff", ["-man", "-ww", "-Tascii", "-P-cbou", ...files], {
    encoding: "utf8",
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  for (const text of ["--before-pause <command>", "$ cprkit inspect --json - < cpr-state.bin | jq '.fds[].name'"]) {
    expect(stdout).toContain(text);
  }
});
