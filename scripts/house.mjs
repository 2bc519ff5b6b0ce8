// The table of docs/house.md: each folder of src/, what it is for, and which folders it imports. `npm run house` writes the
// last column anew from the imports as they are; test/guards/house.test.ts compares it, and finds circles.

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const page = join(root, "docs/house.md");
const rowPattern = /^\| `([^`]+)` \| (.*?) \| (.*?) \|$/;

/** Each file of src/ with the files of src/ that it imports, types included. @returns {Map<string, string[]>} */
export function importsOfFiles() {
  const files = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" }).filter((f) => /\.tsx?$/.test(f));
  return new Map(
    files.sort().map((file) => {
      const text = readFileSync(join(root, "src", file), "utf8");
      const found = [...text.matchAll(/(?:\bfrom|\bimport\(|^import) ?"(\.[^"]*\.tsx?)"/gm)];
      return [file, found.map(([, path]) => normalize(join(dirname(file), path)))];
    }),
  );
}

/** The folders of src/, each with the other folders that it imports. @returns {Map<string, string[]>} */
export function importsOfFolders() {
  const folders = new Map();
  for (const [file, imports] of importsOfFiles()) {
    const folder = dirname(file);
    if (folder === ".") continue;
    const known = folders.get(folder) ?? new Set();
    for (const one of imports) if (dirname(one) !== folder) known.add(dirname(one));
    folders.set(folder, known);
  }
  return new Map([...folders].sort().map(([folder, known]) => [folder, [...known].sort()]));
}

/** The rows of the page. @returns {{ folder: string, purpose: string, imports: string }[]} */
export function rowsOfPage() {
  return readFileSync(page, "utf8")
    .split("\n")
    .flatMap((line) => {
      const [, folder, purpose, imports] = rowPattern.exec(line) ?? [];
      return folder === undefined ? [] : [{ folder, purpose, imports }];
    });
}

/** How the last column shows what a folder imports. */
export const importsCell = (imports) => imports.map((one) => `\`${one}\``).join(", ");

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const purposes = new Map(rowsOfPage().map(({ folder, purpose }) => [folder, purpose]));
  const order = ["vmstate", "migration", "cpr", "linux", "files", "web", "channel", "qemu", "cli"];
  const rows = [...importsOfFolders()]
    .sort(([a], [b]) => order.indexOf(a.split("/")[0]) - order.indexOf(b.split("/")[0]))
    .map(([folder, imports]) => `| \`${folder}\` | ${purposes.get(folder) ?? "?"} | ${importsCell(imports)} |`);
  const lines = readFileSync(page, "utf8").split("\n");
  const start = lines.findIndex((line) => line.startsWith("| --- ")) + 1;
  const end = lines.findIndex((line, index) => index >= start && !line.startsWith("|"));
  lines.splice(start, end - start, ...rows);
  writeFileSync(page, lines.join("\n"));
}
