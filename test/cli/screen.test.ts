// What is printed fits the terminal's width, and its codes are links to the pages that explain them; elsewhere nothing is
// broken, cut or linked.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { fit } from "../../src/cli/view/fit.ts";
import { table } from "../../src/cli/view/table.ts";
import { widthOf } from "../../src/cli/view/width.ts";
import { cprkit } from "../support/cli.ts";
import { expectFits, noScreen, onScreen, words } from "../support/screen.ts";

const folder = mkdtempSync(join(tmpdir(), "cprkit-screen-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const log = join(folder, "vm.log");
writeFileSync(log, "qemu: Machine type received is 'pc-q35-8.0' and local is 'pc-q35-7.2'\n");
const migrations = "test/fixtures/migration";
const [first, second] = [`${migrations}/cpr-main-pc-firmware-11.1.mig`, `${migrations}/cpr-main-microvm-10.0.mig`];
const states = ["test/fixtures/cpr/q35-min-10.0.bin", "test/fixtures/cpr/q35-min-11.1.bin"];

describe.skipIf(noScreen !== undefined)(`on a terminal [${noScreen ?? "of script(1)"}]`, () => {
  it.concurrent.each([60, 80, 200])("of %i columns", async (columns) => {
    const commands = [
      ["check", first, second],
      ["explain", "--log", log],
      ["diff", first, second],
      ["diff", ...states],
      ["doctor"],
      ["status", "--state-dir", join(folder, "none")],
      ["inspect", first],
      ["inspect", states[0] as string],
    ];
    const [checked, explained, ...others] = await onScreen(columns, commands);
    for (const each of [checked, explained, ...others]) expectFits(each?.lines ?? ["none"], columns);
    const pages = (links: readonly string[] = []) => links.map((link) => link.replace(/^https:\/\/\S*\/docs\//, ""));
    expect(pages(checked?.links)).toContain("check.md#section-missing");
    expect(pages(checked?.links)).toHaveLength((checked?.lines.join(" ").match(/\[[\w-]+\]/g) ?? []).length);
    expect(pages(explained?.links)).toEqual(["explain.md#machine-type"]);
    expect(pages(others[2]?.links).slice(0, 2)).toEqual(["host.md#node", "host.md#ffi"]);
    // Words of prose are all there, and without a terminal they are as they are.
    for (const [index, seen] of [checked, explained, others[0], others[1]].entries()) {
      const { stdout } = cprkit(commands[index] as string[], { env: { COLUMNS: "60" } });
      expect(stdout).not.toContain("\u001b");
      expect(words(seen?.lines ?? [])).toEqual(words(stdout));
    }
  });

  it("COLUMNS is taken for the width", async () => {
    const commands = [
      ["explain", "--log", log],
      ["update", "--help"],
    ];
    const [explained, help] = await onScreen(200, commands, { COLUMNS: "80" });
    expectFits(explained?.lines ?? [], 80);
    const options = help?.lines.slice(0, help.lines.indexOf("Examples:")) ?? [];
    expect(options.length).toBeGreaterThan(30);
    expectFits(options, 80);
  });

  it("a terminal that does not take links gets none", async () => {
    const [explained] = await onScreen(80, [["explain", "--log", log]], { VTE_VERSION: "", FORCE_HYPERLINK: "0" });
    expect(explained?.links).toEqual([]);
  });
});

it("a line goes on below, between words; a word that is wider stays whole", () => {
  expect(fit("one two three", 4, 9)).toBe("one two\n    three");
  expect(fit("  blocker  /a/path/that/is/long is there", 11, 22)).toBe(
    "  blocker\n           /a/path/that/is/long\n           is there",
  );
  expect(fit("one two three", 4, undefined)).toBe("one two three");
});

it("text in the last column of a table goes on below; ids and numbers are not cut while something else is wider", () => {
  const head = ["FD", "NAME", "WHY"];
  const rows = [
    ["12", "a-name-of-an-fd-that-is-long", "the new QEMU opens the same path by itself"],
    ["7", "x", ""],
  ];
  expect(table(head, rows, ["FD"], 44).split("\n")).toEqual([
    "FD  NAME                 WHY",
    "12  a-name-of-an-fd-th…  the new QEMU opens",
    "                         the same path by",
    "                         itself",
    " 7  x",
    "",
  ]);
  for (const columns of [20, 30, 60]) {
    for (const line of table(head, rows, ["FD"], columns).split("\n")) {
      expect(widthOf(line)).toBeLessThanOrEqual(columns);
    }
  }
  expect(table(head, rows, ["FD"], undefined)).toContain("the new QEMU opens the same path by itself");
});
