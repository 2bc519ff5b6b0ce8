// The check's answers beside what QEMU did, for every recorded pair (test/check/corpus.long.test.ts makes them).
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  type CheckSide,
  checkMigration,
  checkSideOf,
  checkSideOfJson,
  readMigrationBytes,
} from "../../src/migration/index.ts";
import { readCorpus, type Verdict } from "./fixture.ts";

const corpus = readCorpus();
const sides = new Map<string, CheckSide>();

function sideOf(name: string): CheckSide {
  const known = sides.get(name);
  if (known !== undefined) return known;
  const bytes = corpus.streams.get(name);
  if (bytes === undefined) throw new Error(`stream ${name} is missing`);
  const migration = readMigrationBytes(bytes);
  expect(migration.stopped).toBeUndefined();
  expect(migration.problems).toEqual([]);
  const side = checkSideOf(migration);
  // Pairs of one kind follow each other: a few sides are enough, and all of them would fill the memory.
  const [oldest] = sides.keys();
  if (sides.size >= 12 && oldest !== undefined) sides.delete(oldest);
  sides.set(name, side);
  return side;
}

interface Row {
  pairs: number;
  refused: number;
  missed: string[];
  alarms: string[];
}

const loadsByCheck = ({ source, destination }: Verdict) =>
  !checkMigration(sideOf(source), sideOf(destination)).some(({ severity }) => severity === "error");

function judge(): Map<string, Row> {
  const rows = new Map<string, Row>();
  for (const verdict of corpus.verdicts) {
    const row = rows.get(verdict.kind) ?? { pairs: 0, refused: 0, missed: [], alarms: [] };
    rows.set(verdict.kind, row);
    row.pairs += 1;
    if (!verdict.loads) row.refused += 1;
    const answer = loadsByCheck(verdict);
    if (answer && !verdict.loads) row.missed.push(verdict.name);
    if (!answer && verdict.loads) row.alarms.push(verdict.name);
  }
  return rows;
}

describe("check, judged by loading", () => {
  it("has no miss and at most 3 false alarms, and docs/check.md has the table", { timeout: 120_000 }, () => {
    const rows = judge();
    const all = [...rows.values()];
    expect(all.flatMap(({ missed }) => missed)).toEqual([]);
    expect(all.flatMap(({ alarms }) => alarms).length).toBeLessThanOrEqual(3);
    expect(corpus.verdicts.length).toBeGreaterThanOrEqual(120);
    const text = readFileSync(new URL("../../docs/check.md", import.meta.url), "utf8");
    for (const [kind, { pairs, refused, missed, alarms }] of rows) {
      const right = pairs - missed.length - alarms.length;
      expect(text).toContain(`| ${kind} | ${pairs} | ${refused} | ${right} | ${missed.length} | ${alarms.length} |`);
    }
  });

  it("says less of descriptions alone: it compares no machines", () => {
    const first = corpus.verdicts.find(({ kind }) => kind === "RAM");
    if (first === undefined) throw new Error("no pair of RAM");
    const json = (name: string) => {
      const text = readMigrationBytes(corpus.streams.get(name) as Uint8Array).vmdescription?.text;
      return checkSideOfJson(text ?? "");
    };
    expect(checkMigration(json(first.source), json(first.destination))).toEqual([]);
    expect(checkMigration(sideOf(first.source), sideOf(first.destination))).not.toEqual([]);
  });
});
