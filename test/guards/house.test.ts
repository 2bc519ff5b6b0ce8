// docs/house.md says what is there, no files import each other in a circle, and no folder is too full to look through.

import { dirname } from "node:path";
import { expect, it } from "vitest";
import { importsCell, importsOfFiles, importsOfFolders, rowsOfPage } from "../../scripts/house.mjs";

const filesOfALevel = 14;

it("the table names every folder with what it imports: npm run house writes it anew", () => {
  const rows = rowsOfPage();
  const found = [...importsOfFolders()].map(([folder, imports]) => [folder, importsCell(imports)]);
  expect(found.length).toBeGreaterThan(25);
  expect(rows.map(({ folder, imports }) => [folder, imports]).sort()).toEqual(found.sort());
  expect(rows.filter(({ purpose }) => purpose === "?")).toEqual([]);
});

it("a folder imports no folder that comes after it in the table, but for those inside the same project", () => {
  const projects = [...new Set(rowsOfPage().map(({ folder }) => folder.split("/")[0]))];
  for (const [folder, imports] of importsOfFolders()) {
    const at = projects.indexOf(folder.split("/")[0]);
    expect(imports.filter((one) => projects.indexOf(one.split("/")[0]) > at)).toEqual([]);
  }
});

it("a level of a folder has at most 14 files", () => {
  const counts = new Map<string, number>();
  for (const file of importsOfFiles().keys()) counts.set(dirname(file), (counts.get(dirname(file)) ?? 0) + 1);
  expect([...counts].filter(([, count]) => count > filesOfALevel)).toEqual([]);
});

/** The circles that a walk along the imports finds, each as its files in order. */
function circles(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const state = new Map<string, "open" | "done">();
  const found: string[] = [];
  const visit = (file: string, path: readonly string[]): void => {
    if (state.get(file) === "done") return;
    if (state.get(file) === "open") {
      found.push([...path.slice(path.indexOf(file)), file].join(" -> "));
      return;
    }
    state.set(file, "open");
    for (const next of graph.get(file) ?? []) visit(next, [...path, file]);
    state.set(file, "done");
  };
  for (const file of graph.keys()) visit(file, []);
  return found;
}

it("a circle is found, of types too", () => {
  expect(
    circles(
      new Map([
        ["a", ["b"]],
        ["b", ["c", "d"]],
        ["c", []],
        ["d", ["a"]],
      ]),
    ),
  ).toEqual(["a -> b -> d -> a"]);
  const files = importsOfFiles();
  expect([...files.values()].flat().filter((file) => !files.has(file))).toEqual([]);
});

it("no files import each other in a circle, types included", () => {
  expect(circles(importsOfFiles())).toEqual([]);
});
