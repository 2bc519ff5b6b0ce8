// The decisions are numbered without gaps, each has its date and status, and the index lists them all as they are.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { root } from "./project.ts";

const folder = join(root, "docs/decisions");
const pages = readdirSync(folder).filter((name) => name !== "README.md");

it("decisions have numbers without gaps, a date, a status, and a line in the index", () => {
  const lines = pages.sort().map((name, index) => {
    const number = index + 1;
    expect(name).toMatch(new RegExp(`^${String(number).padStart(4, "0")}-[a-z0-9-]+\\.md$`));
    const text = readFileSync(join(folder, name), "utf8");
    const [, found, title, date, status] =
      /^# (\d+)\. (.+)\n\nDate: (\d{4}-\d\d-\d\d)\. Status: (accepted|replaced by \d+)\.\n/.exec(text) ?? [];
    expect([name, found]).toEqual([name, String(number)]);
    return `| ${number} | [${title}](${name}) | ${date} | ${status} |`;
  });
  expect(lines.length).toBeGreaterThan(5);
  const index = readFileSync(join(folder, "README.md"), "utf8");
  expect(index.split("\n").filter((line) => /^\| \d/.test(line))).toEqual(lines);
});
