// Writes what was measured into the documentation.

import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/**
 * Replaces what stands between "<!-- results -->" and "<!-- end -->" by tables of the last results of every case.
 *
 * @param {string} file
 * @param {string} work the folder of the results, one file for each number of cores
 */
export function writeTables(file, work) {
  const runs = readdirSync(work)
    .filter((name) => /^results-\d+\.json$/.test(name))
    .map((name) => JSON.parse(readFileSync(join(work, name), "utf8")));
  const text = runs.map(tablesOf).join("\n");
  const before = existsSync(file) ? readFileSync(file, "utf8") : "<!-- results -->\n<!-- end -->\n";
  writeFileSync(
    file,
    before.replace(/(<!-- results -->\n)[\s\S]*(<!-- end -->)/, (_, start, end) => `${start}\n${text}\n${end}`),
  );
}

/** @param {{ date: string, kernel: string, systemd: string, cores: number, rows: { name: string, table: string, ok: boolean, row: Record<string, string | number> }[] }} run */
function tablesOf({ date, kernel, systemd, cores, rows }) {
  const shown = rows.filter(({ row }) => row["note"] === undefined);
  const titles = [...new Set(shown.map(({ table }) => table))];
  const about = `${date}: Linux ${kernel}, ${systemd.replace(/ \(.*/, "")}, QEMU 10.0.2 and 11.1.3, ${cores} emulated processors.`;
  return [
    `${about}\n`,
    ...titles.map((title) =>
      tableOf(
        title,
        shown.filter(({ table }) => table === title),
      ),
    ),
  ].join("\n");
}

/** @param {string} title @param {{ name: string, ok: boolean, row: Record<string, string | number> }[]} rows */
function tableOf(title, rows) {
  const columns = [...new Set(rows.flatMap(({ row }) => Object.keys(row)))];
  const cell = (/** @type {unknown} */ value) => String(value ?? "").replaceAll("|", "\\|");
  const lines = rows.map(
    ({ name, ok, row }) =>
      `| ${[name, ok ? "yes" : "**no**", ...columns.map((column) => cell(row[column]))].join(" | ")} |`,
  );
  const head = ["case", "holds", ...columns];
  return [`### ${title}`, "", `| ${head.join(" | ")} |`, `|${" --- |".repeat(head.length)}`, ...lines, ""].join("\n");
}
