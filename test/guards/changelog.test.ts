// CHANGELOG.md is what the release notes are made from: each group of changes is a subpath of the package, or one of two more.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { groups, parseChangelog } from "../../scripts/changelog.mjs";
import { root } from "./project.ts";

const text = readFileSync(join(root, "CHANGELOG.md"), "utf8");

it("CHANGELOG.md is read, and every change in it is in a group", () => {
  const { releases } = parseChangelog(text);
  const changes = releases.flatMap(({ changes: byGroup }) => [...byGroup.values()].flat());
  expect(changes).toHaveLength(text.match(/^- /gm)?.length ?? 0);
  expect(changes.length).toBeGreaterThan(5);
});

it("a group that is not a subpath is refused", () => {
  expect(groups).toContain("cprkit/vmstate");
  expect(() => parseChangelog("# Changelog\n\n## Unreleased\n\n### Wonders\n- one\n- two\n")).toThrow(
    "Invalid change type",
  );
});
