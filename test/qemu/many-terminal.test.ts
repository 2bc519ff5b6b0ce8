// cprkit update of several VMs on a terminal: a table that is drawn over itself while they are under way, and what stays.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { repoRoot } from "../support/cli.ts";
import { makeScreen } from "../support/drawn-screen.ts";
import { describeQemu } from "../support/qemu.ts";
import { privateDir } from "../support/vm.ts";
import { endAll, startUpdatable } from "./update-support.ts";

afterEach(endAll);

const script = "/usr/bin/script";
if (!existsSync(script)) console.warn("skipped: the table of several VMs: there is no script(1) here");

describeQemu("several VMs on a terminal", ["10.0", "11.1"], (qemu) => {
  it.skipIf(!existsSync(script)).each([
    { what: "wide and high enough", columns: 100, rows: 24 },
    // A line for each of them and the two of the longest would not fit.
    { what: "narrow, with fewer rows than VMs", columns: 40, rows: 4 },
  ])("$what", async ({ columns, rows }) => {
    const run = `board${process.pid}`;
    const names = ["a", "b", `c-${"a-long-name".repeat(3)}`, "d"].map((name) => `${run}-${name}`);
    await Promise.all(
      names.map((name) =>
        startUpdatable({
          ...{ machine: "pc-q35-10.0", accel: "tcg", qemu: qemu["10.0"] },
          extraArgs: () => ["-name", `guest=${name}`],
        }),
      ),
    );
    const state = join(privateDir(), "state");
    const words = `bin/cprkit update --match '${run}-*' --qemu ${qemu["11.1"]} --at-once 4 --state-dir ${state}`;
    const { CI: _, ...env } = process.env;
    const child = spawn(
      script,
      ["-qec", `stty cols ${columns} rows ${rows}; ${process.execPath} ${words}`, "/dev/null"],
      {
        ...{ cwd: repoRoot, stdio: ["ignore", "pipe", "inherit"] },
        env: { ...env, TERM: "xterm-256color" },
      },
    );
    const seen: string[][] = [];
    const screen = makeScreen(columns, rows, (lines) => seen.push(lines));
    child.stdout.setEncoding("utf8").on("data", screen.write);
    const [code] = await once(child, "close");
    expect(code).toBe(0);
    expect(screen.hasCursor()).toBe(true);

    // While it went on: what is done, and what happens to each; never two tables, nor what is left of one.
    const tables = seen.filter((lines) => lines.some((line) => / of 4 done/.test(line)));
    const shown = new Map<string, number>();
    for (const lines of tables) {
      expect(
        lines.filter((line) => / of 4 done/.test(line)),
        lines.join("\n"),
      ).toHaveLength(1);
      for (const name of names) {
        const count = lines.join("").split(`${name}: `).length - 1;
        expect(count, lines.join("\n")).toBeLessThanOrEqual(1);
        if (count > 0) shown.set(name, (shown.get(name) ?? 0) + 1);
      }
      expect(lines.length, lines.join("\n")).toBeLessThanOrEqual(rows);
    }
    expect(tables.flat().join("\n")).toMatch(/[^\d]0 of 4 done/);
    if (rows > 4) expect([...shown.keys()].sort()).toEqual(names);
    else expect(tables.flat()).toContain("  and 3 more");
    expect(tables.flat().join("\n")).toMatch(/: starting the new QEMU/);
    // Afterwards there is what became of them, and nothing else.
    const left = screen.lines().filter((line) => line !== "");
    expect(left[0], left.join("\n")).toMatch(/^VM +FR?/);
    expect(left, left.join("\n")).toHaveLength(5);
  });
});
