// The pages hang together: each has its place, each link leads somewhere, each block of code says what it is, and the
// tables of codes and commands are whole. What the blocks print, and the site, are tested in test/docs.

import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { expect, it } from "vitest";
import { slugOf } from "../../scripts/docs/markdown.mjs";
import { sections } from "../../scripts/docs/nav.mjs";
import { exitCodeOf } from "../../src/cli/exit-codes.ts";
import type { CodePage } from "../../src/cli/links.ts";
import { commands } from "../../src/cli/main.ts";
import { checkFindingCodes, explanationCodes } from "../../src/migration/index.ts";
import { findingCodes } from "../../src/qemu/finding.ts";
import { hostSubjects } from "../../src/qemu/host/fact.ts";
import { errorCodes } from "../../src/vmstate/error.ts";
import { blocksOf, pages } from "../docs/blocks.ts";
import { root } from "./project.ts";

const text = (page: string) => readFileSync(join(root, page), "utf8");

it("every page has its place in scripts/docs/nav.mjs, once; decisions are in their own list", () => {
  const listed = sections.flatMap(({ pages: each }) => each).map((page) => `docs/${page}`);
  const written = pages.filter((page) => page.startsWith("docs/") && !/^docs\/decisions\/\d/.test(page));
  expect([...listed].sort()).toEqual([...written].sort());
});

it("every link leads somewhere, and every anchor is there", () => {
  const prose = (page: string) => text(page).replaceAll(/^ *```[\s\S]*?^ *```$/gm, "");
  const anchors = (page: string) => {
    const headings = [...prose(page).matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
      slugOf(heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1").replaceAll("`", "")),
    );
    const written = [...prose(page).matchAll(/<a id="([^"]+)"><\/a>/g)].map(([, id = ""]) => id);
    return new Set([...headings, ...written]);
  };
  const broken = pages.flatMap((page) =>
    [...prose(page).matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, link = ""]) => {
      if (/^https?:/.test(link)) return [];
      const [path = "", anchor] = link.split("#");
      const target = path === "" ? page : normalize(join(dirname(page), path));
      if (!existsSync(join(root, target))) return [`${page}: ${link}`];
      return anchor === undefined || anchors(target).has(anchor) ? [] : [`${page}: ${link}`];
    }),
  );
  expect(broken).toEqual([]);
});

it("every block of code is ts or console, which test/docs runs, or says that it is an excerpt: ```sh excerpt", () => {
  const blocks = pages.flatMap(blocksOf);
  expect(blocks.length).toBeGreaterThan(40);
  const unclear = blocks.filter(({ language, excerpt }) => !excerpt && language !== "ts" && language !== "console");
  expect(unclear.map(({ name, language }) => `${name}: ${language}`)).toEqual([]);
  expect(blocks.filter(({ language }) => language === "").map(({ name }) => name)).toEqual([]);
});

it.each([
  ["preflight.md", Object.keys(findingCodes)],
  ["check.md", checkFindingCodes],
  ["explain.md", explanationCodes],
  ["host.md", hostSubjects],
] as const satisfies readonly (readonly [CodePage, readonly string[]])[])(
  "docs/%s has an anchor for each of its codes",
  (page, codes) => {
    const anchors = [...text(`docs/${page}`).matchAll(/^\| `([\w-]+)` \| <a id="\1"><\/a>/gm)].map(([, code]) => code);
    expect(anchors.toSorted()).toEqual([...codes].sort());
  },
);

it("docs/exit-codes.md has every error with its exit code, in order", () => {
  const rows = [...text("docs/exit-codes.md").matchAll(/^\| `(ERR_\w+)` \| (\d) \| \S/gm)];
  expect(rows.map(([, code, exit]) => [code, Number(exit)])).toEqual(
    errorCodes.map((code) => [code, exitCodeOf(code)]),
  );
});

it("docs/commands.md has every command", () => {
  const missing = Object.keys(commands).filter((name) => !text("docs/commands.md").includes(`\n| \`cprkit ${name}`));
  expect(missing).toEqual([]);
});
