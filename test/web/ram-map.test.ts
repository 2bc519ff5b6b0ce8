// The map of guest RAM: counts for any part and any zoom, and a page's place.

import { expect, test } from "vitest";
import { type OnRamPlace, readMigrationBytes } from "../../src/migration/index.ts";
import { cellKinds } from "../../src/web/worker/protocol.ts";
import { mapBlocks, ramMap } from "../../src/web/worker/ram-map.ts";
import { listMigrationCaptures } from "../migration/captures.ts";

test.each(listMigrationCaptures())("$name: its cells count what the stream has", ({ bytes, offset }) => {
  const { ram } = readMigrationBytes(bytes, { offset });
  const known = mapBlocks(ram);
  const map = ramMap(known);
  // What came last of a page counts.
  const last = new Map<string, Parameters<OnRamPlace>>();
  readMigrationBytes(bytes, {
    offset,
    onPlace: (...place) => {
      map.note(...place);
      last.set(`${place[0]}\0${place[1]}`, place);
    },
  });
  for (const [name, { pages, pageSize }] of known) {
    const own = [...last.values()].filter(([block]) => block === name);
    for (const [cells, perCell] of [
      [1, pages],
      [pages, 1],
      [7, Math.ceil(pages / 7)],
      [3, 4096],
    ] as const) {
      const { counts } = map.part(name, 0, perCell, cells);
      const covered = Math.min(pages, cells * perCell);
      const within = own.filter(([, at]) => at / pageSize < covered);
      const total = (kind: (typeof cellKinds)[number]) => {
        let sum = 0;
        for (let at = cellKinds.indexOf(kind); at < counts.length; at += cellKinds.length) sum += counts[at] ?? 0;
        return sum;
      };
      expect([total("data"), total("zero"), total("absent")]).toEqual([
        within.filter(([, , kind]) => kind === "page" || kind === "filled").length,
        within.filter(([, , kind]) => kind === "zero").length,
        covered - within.length,
      ]);
    }
    for (const [, at, kind, start, size] of own.slice(0, 50)) {
      expect(map.page(name, at / pageSize)).toEqual({ kind, at: start, size });
    }
  }
});

test("a terabyte of guest RAM: a whole map is some thousand numbers, and what is not there takes nothing", () => {
  const pages = 2 ** 28;
  const known = new Map([["ram", { pageSize: 4096, pages }]]);
  const map = ramMap(known);
  // A page at each GiB.
  for (let page = 0; page < pages; page += 2 ** 18) map.note("ram", page * 4096, "page", page + 8, 4096);
  const cells = 6144;
  const perCell = 4 ** 8;
  const { counts } = map.part("ram", 0, perCell, cells);
  const data = counts.filter((_, at) => at % cellKinds.length === 0);
  expect(data.reduce((sum, count) => sum + count, 0)).toBe(1024);
  expect(counts.reduce((sum, count) => sum + count, 0)).toBe(pages);
  expect(map.page("ram", 2 ** 18)).toEqual({ kind: "page", at: 2 ** 18 + 8, size: 4096 });
  expect(map.page("ram", 5)).toEqual({ kind: "absent", at: undefined, size: 0 });
});
