// How output looks: widths, colours that are asked for, links to the pages of codes.

import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, it } from "vitest";
import { table } from "../../src/cli/view/table.ts";
import { cutTo, widthOf } from "../../src/cli/view/width.ts";
import { repoRoot } from "../support/cli.ts";

it("wide characters take two columns, and a table fits the columns there are", () => {
  expect([widthOf("abc"), widthOf("名前"), widthOf("e\u0301"), widthOf("🙂")]).toEqual([3, 4, 1, 2]);
  expect([cutTo("abcdef", 6), cutTo("abcdef", 5), cutTo("名前名前", 5), cutTo("名前名前", 4)]).toEqual([
    ...["abcdef", "abcd…", "名前…", "名…"],
  ]);
  const rows = [
    ["1", "a name that is very long indeed", "running"],
    ["2", "名前名前名前名前名前名前", "paused"],
  ];
  const whole = table(["PID", "NAME", "STATE"], rows);
  expect(whole).toContain("very long indeed");
  const lines = table(["PID", "NAME", "STATE"], rows, ["PID"], 30).trimEnd().split("\n");
  for (const line of lines) expect(widthOf(line)).toBeLessThanOrEqual(30);
  expect(lines[1]).toBe("  1  a name that is …  running");
  // Not to nothing.
  expect(table(["NAME"], [["abcdefghijklmnop"]], [], 2)).toBe("NAME\nabc…\n");
});

/** What a script prints that has `print`, `colours` and `codeLink`. */
function printed(script: string, env: NodeJS.ProcessEnv): string {
  const modules = ["output", "colours", "links"].map((name) => JSON.stringify(join(repoRoot, `dist/cli/${name}.js`)));
  const program = `const [{ print }, { colours }, { codeLink }] = await Promise.all([${modules}].map((path) => import(path)));${script}`;
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
    encoding: "utf8",
    env: { PATH: "", ...env },
  });
  expect(stderr).toBe("");
  return stdout;
}

it("FORCE_COLOR asks for colours where no terminal is, NO_COLOR wins", () => {
  const red = 'print(colours.red("x"))';
  expect(printed(red, {})).toBe("x");
  expect(printed(red, { FORCE_COLOR: "1" })).toBe("\u001b[31mx\u001b[39m");
  expect(printed(red, { FORCE_COLOR: "0" })).toBe("x");
  expect(printed(red, { FORCE_COLOR: "1", NO_COLOR: "1" })).toBe("x");
});

it("a code is a link to its page only where links are taken, and nothing of a stranger's gets into it", () => {
  const link = 'print((await codeLink())("preflight.md", "port-taken\\x1b]8;;evil\\x07", "port-taken"))';
  expect(printed(link, {})).toBe("port-taken");
  const parts = printed(link, { FORCE_HYPERLINK: "1" }).split("\u001b");
  const [before, start, word, end, after] = parts;
  expect(start).toMatch(/^\]8;;https:\/\/\S+\/docs\/preflight\.md#port-taken8evil$/);
  expect([before, word, end, after]).toEqual(["", "\\port-taken", "]8;;", "\\"]);
});
