// The public API is documented, complete, and in docs/api/ as text, so that a review sees what a change does to users.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { apiReport, publicSubpaths } from "../../scripts/api.mjs";
import { repoRoot } from "../support/cli.ts";

const reports = publicSubpaths().map((subpath) => ({ name: subpath.name, ...apiReport(subpath) }));

/** The names that some subpath exports. */
const exported = new Set(
  reports.flatMap(({ text }) => [
    ...[...text.matchAll(/^export (?:declare )?(?:abstract )?(?:function|class|interface|type|const) (\w+)/gm)].map(
      ([, name]) => name,
    ),
    ...[...text.matchAll(/^export \{ (\w+)/gm)].map(([, name]) => name),
  ]),
);

it("the reports see the exports", () => {
  expect([...exported]).toEqual(expect.arrayContaining(["vmstate", "Reader", "StateOf", "CprState"]));
});

describe.each(reports)("$name", ({ name, text, undocumented, notExported }) => {
  it("has a docstring on every export", () => {
    expect(undocumented).toEqual([]);
  });

  it("names no type that cannot be imported from any subpath", () => {
    expect(notExported.filter((type) => !exported.has(type))).toEqual([]);
  });

  it("is as docs/api says: `npm run api` writes it anew", () => {
    expect(text).toBe(readFileSync(join(repoRoot, `docs/api/${name}.api.md`), "utf8"));
  });
});
