// cprkit completion: the scripts offer commands, options, choices and files. Here in a real bash; zsh and fish are in
// bare-debian.long.test.ts.

import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { findingCodes } from "../../src/qemu/finding.ts";
import { updateModes } from "../../src/qemu/vm/binary.ts";
import { cprkit } from "../support/cli.ts";

const folder = mkdtempSync(join(tmpdir(), "cprkit-completion-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
for (const name of ["a stream.mig", "other.mig", ".hidden"]) writeFileSync(join(folder, name), "");
mkdirSync(join(folder, "states"));

const commands = [...cprkit(["--help"]).stdout.matchAll(/^ {2}([a-z]+) {2,}/gm)].map(([, name]) => name as string);

it("there is a script for each of three shells, and for no other", () => {
  expect(cprkit(["completion", "tcsh"])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("bash, zsh or fish"),
  });
  for (const shell of ["bash", "zsh", "fish"]) {
    const { code, stdout, stderr } = cprkit(["completion", shell]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    for (const name of commands) expect(stdout).toMatch(new RegExp(`\\b${name}\\b`));
    expect(stdout).not.toMatch(/[$`<]\(?cprkit/);
  }
});

describe("in bash", () => {
  const script = cprkit(["completion", "bash"]).stdout;
  writeFileSync(join(folder, ".completion"), script);

  /** What TAB offers behind each of these lines, in their order: bash splits "--x=y" into three words. */
  function offered(lines: readonly string[]): string[][] {
    const asked = lines.map((line) => {
      const words = line
        .split(" ")
        .flatMap((word) =>
          word.split(/(=)/).filter((part, at, all) => part !== "" || all.length === 1 || at === all.length - 1),
        );
      return `COMP_WORDS=(${words.map((word) => `'${word}'`).join(" ")}) COMP_CWORD=${words.length - 1}; _cprkit; printf '%s\\n' "\${COMPREPLY[@]}"; echo ---`;
    });
    const program = ["set -u", "PATH=/nothing", "source ./.completion", "complete -p cprkit >/dev/null", ...asked].join(
      "\n",
    );
    // A TAB starts neither cprkit nor any other program.
    const { stdout, stderr } = spawnSync("bash", ["--norc", "-c", program], {
      ...{ cwd: folder, encoding: "utf8" },
    });
    expect(stderr).toBe("");
    return stdout
      .split("---\n")
      .slice(0, -1)
      .map((part) => part.split("\n").filter(Boolean).sort());
  }

  const one = (line: string) => offered([line])[0];

  it("commands, and options of each", () => {
    const [all, some, help, flags, options, more] = offered([
      "cprkit ",
      "cprkit up",
      "cprkit help ins",
      "cprkit --v",
      "cprkit update --co",
      "cprkit convert x.bin -",
    ]);
    expect(all).toEqual([...commands].sort());
    expect([some, help, flags]).toEqual([["update"], ["inspect"], ["--version"]]);
    expect(options).toEqual(["--copy-timeout"]);
    expect(more).toEqual(["--for", "--help", "--output", "--to"]);
  });

  it("the same options as --help", () => {
    const some = ["update", "inspect", "tap", "list"];
    const offers = offered(some.map((name) => `cprkit ${name} --`));
    for (const [at, name] of some.entries()) {
      const { stdout } = cprkit([name, "--help"]);
      const inHelp = [...stdout.matchAll(/^ {2}(?:-[a-zA-Z], )?(--[a-z-]+)/gm)].map(([, option]) => option as string);
      expect(offers[at], name).toEqual(inHelp.sort());
    }
  });

  it("choices, files, folders, and several values", () => {
    expect(one("cprkit update --mode cpr-")).toEqual(updateModes.filter((mode) => mode.startsWith("cpr-")).sort());
    expect(one("cprkit update --mode=cpr-r")).toEqual(["cpr-reboot"]);
    expect(one("cprkit convert --to ")).toEqual(["hash", "list"]);
    expect(one("cprkit schema inspect-m")).toEqual(["inspect-machine", "inspect-migration"]);
    const codes = Object.keys(findingCodes)
      .filter((code) => code.startsWith("nofile-"))
      .sort();
    expect(one("cprkit update --allow pty nofile-")).toEqual(codes);
    expect(one("cprkit inspect ")).toEqual([".completion", ".hidden", "a stream.mig", "other.mig", "states"]);
    expect(one("cprkit diff a o")).toEqual(["other.mig"]);
    expect(one("cprkit status --state-dir ")).toEqual(["states"]);
    expect(one("cprkit update --timeout 5")).toEqual([]);
    // Behind -- is somebody else's command line: bash offers what it does by itself.
    expect(one("cprkit update -- --mo")).toEqual([]);
    expect(one("cprkit nothing ")).toEqual([]);
  });
});
