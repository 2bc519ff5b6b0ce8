// Choosing sections and fields, and leaving out what passes with time.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { globTest } from "../../src/cli/input/glob.ts";
import { isOfTime } from "../../src/cli/input/ignore.ts";
import { table } from "../../src/cli/view/table.ts";
import { be32, bytes, configuration, device, end, entry, header, vmdesc } from "../migration/build.ts";
import { cprkit } from "../support/cli.ts";

const folder = mkdtempSync(join(tmpdir(), "cprkit-select-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Two CPUs and a clock. */
const machine = (name: string, ticks: number, pc: number): string => {
  const field = (label: string) => [{ name: label, type: "uint32", size: 4 }];
  const content = bytes(
    header,
    configuration("test"),
    entry(4, 1, "cpu", be32(1)),
    entry(4, 2, "cpu", be32(pc), { instance: 1 }),
    entry(4, 3, "clock", be32(ticks)),
    end(
      vmdesc(
        device("cpu", field("env.eip")),
        { ...device("cpu", field("env.eip")), instance_id: 1 },
        device("clock", field("ticks")),
      ),
    ),
  );
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};
const a = machine("a.mig", 5, 7);
const later = machine("later.mig", 9, 7);
const other = machine("other.mig", 9, 8);

describe("--section and --field", () => {
  const sections = (pattern: string) =>
    cprkit(["inspect", a, "--section", pattern])
      .stdout.match(/^\S+ \(version/gm)
      ?.map((line) => line.split(" ")[0]);

  test("take the overview's labels, any case, and alternatives", () => {
    expect(sections("cpu")).toEqual(["cpu", "cpu(1)"]);
    expect(sections("cpu(1)")).toEqual(["cpu(1)"]);
    expect(sections("CPU(?)")).toEqual(["cpu(1)"]);
    expect(sections("{clock,cpu(1)}")).toEqual(["cpu(1)", "clock"]);
    expect(cprkit(["inspect", a, "--field", "ENV.{eip,esp}"]).stdout).toContain("env.eip = 7");
  });

  test("that match nothing say so, and what is like it: exit code 1", () => {
    const none = cprkit(["inspect", a, "--section", "clokc"]);
    expect(none).toMatchObject({ code: 1, stdout: "" });
    expect(none.stderr).toMatch(/^cprkit: no section is named "clokc"; perhaps clock: /);
    expect(cprkit(["inspect", a, "--section", "ock"]).stderr).toContain("perhaps *ock* (clock)");
    expect(cprkit(["inspect", a, "--section", "cpu", "--field", "ticks"])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('no field is named "ticks" in cpu, cpu(1)'),
    });
    const json = cprkit(["inspect", a, "--section", "nix", "--json"]);
    expect([json.code, JSON.parse(json.stdout).sections, JSON.parse(json.stderr).error.code]).toEqual([
      1,
      [],
      "ERR_USAGE",
    ]);
    expect(cprkit(["diff", a, later, "--section", "nix"])).toMatchObject({ code: 1 });
    expect(cprkit(["diff", a, later, "--section", "cpu"])).toMatchObject({ code: 0 });
  });

  test("braces that are not alternatives stand for themselves", () => {
    expect(["a{b", "a{b}c", "x{}"].map((name) => globTest(name)(name))).toEqual([true, true, true]);
    expect(globTest("{a,b}{c,d}*")("bde")).toBe(true);
    expect(globTest("{a,}x")("x")).toBe(true);
    expect(globTest("{a,b}".repeat(50))("a")).toBe(false);
  });
});

describe("diff --ignore time", () => {
  test("leaves out clocks, and says how many", () => {
    expect(cprkit(["diff", a, later])).toMatchObject({ code: 1 });
    expect(cprkit(["diff", a, later, "--ignore", "time"])).toMatchObject({
      code: 0,
      stdout: "no difference (1 of time left out)\n",
    });
    const { code, stdout } = cprkit(["diff", a, other, "--ignore", "time", "--json"]);
    expect([code, JSON.parse(stdout)]).toMatchObject([1, { ignored: 1, differences: [{ section: "cpu(1)" }] }]);
    expect(cprkit(["diff", a, later, "--ignore", "space"])).toMatchObject({ code: 2 });
  });

  test("knows them by section and name, and leaves time-outs in", () => {
    const isTime = (section: string, path: string) =>
      isOfTime({ kind: "value", section, path, a: undefined, b: undefined });
    expect(isTime("timer", "anything")).toBe(true);
    expect(isTime("i8254", "channels[0]/next_transition_time")).toBe(true);
    expect(isTime("mc146818rtc", "cmos_data[0..2]")).toBe(true);
    expect(isTime("mc146818rtc", "cmos_data[10]")).toBe(false);
    expect(isTime("cpu", "env.tsc")).toBe(true);
    expect(isTime("watchdog", "timeout")).toBe(false);
    expect(isTime("cpu", "env.eip")).toBe(false);
  });
});

test("tables line up wide and combining characters", () => {
  expect(
    table(
      ["NAME", "N"],
      [
        ["名前", "1"],
        ["e\u0301", "10"],
        ["plain", "100"],
      ],
      ["N"],
    ),
  ).toBe("NAME     N\n名前     1\ne\u0301       10\nplain  100\n");
});
