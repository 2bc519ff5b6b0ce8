// Ratios against those recorded in bench/results/bench.json, with a wide margin, so that a slip of the table or the
// codec is seen. Both sides run here and now: nothing is said of absolute times.

import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { cacheDir } from "../support/cache-dir.ts";

/** A ratio may be this many times the recorded one: other machines, and other work on this one. */
const margin = 3;

const result = z.object({
  rows: z.array(
    z.object({
      id: z.string(),
      n: z.number(),
      ours: z.object({ min: z.number(), check: z.number() }),
      peers: z.array(z.object({ label: z.string(), min: z.number(), check: z.number() })),
      ratios: z.array(z.object({ to: z.string(), min: z.number() })),
    }),
  ),
});
type Result = z.infer<typeof result>;

const root = fileURLToPath(new URL("../..", import.meta.url));
const recorded = result.parse(JSON.parse(readFileSync(join(root, "bench/results/bench.json"), "utf8")));
const peers = join(cacheDir(), "peers");
const withoutPeers = existsSync(join(peers, "lookup"))
  ? undefined
  : "the C peers are not built: npm run bench:peers builds them";
if (withoutPeers !== undefined) process.stderr.write(`bench guard: ratios to C are skipped: ${withoutPeers}\n`);

const folder = mkdtempSync(join(tmpdir(), "cprkit-guard-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The benchmark for some rows, short. */
async function bench(only: string, sizes: string, repeats = 2, ...more: readonly string[]): Promise<Result> {
  const args = ["--json", "--only", only, "--sizes", sizes, "--repeats", `${repeats}`, "--rounds", "3", ...more];
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [join(root, "bench/dist/main.js"), ...args, "--peers", peers],
    {
      timeout: 120_000,
      maxBuffer: 1 << 22,
    },
  );
  return result.parse(JSON.parse(stdout));
}

/**
 * Again, at most three times in all, what is not as recorded: where more runs than there are cores, V8 compiles a function
 * long after it was measured, of either side.
 */
async function benchAgain(ids: readonly string[], measure: (only: string) => Promise<Result>): Promise<Result> {
  let rows: Result["rows"] = [];
  for (let run = 0, left = ids; run < 3 && left.length > 0; run++) {
    rows = [...rows.filter(({ id }) => !left.includes(id)), ...(await measure(left.join(","))).rows];
    left = left.filter((id) => !isAsRecorded({ rows }, id));
  }
  return { rows };
}

function isAsRecorded(now: Result, id: string): boolean {
  try {
    expectAsRecorded(now, id);
    return true;
  } catch {
    return false;
  }
}

function expectAsRecorded(now: Result, id: string): void {
  const row = now.rows.find((each) => each.id === id);
  const before = recorded.rows.find((each) => each.id === id && each.n === row?.n);
  expect(before, "npm run bench records it in bench/results/bench.json").toBeDefined();
  expect(row?.ratios.length).toBeGreaterThan(0);
  for (const { to, min } of row?.ratios ?? []) {
    const then = before?.ratios.find((ratio) => ratio.to === to)?.min ?? Number.NaN;
    expect(min, `${id} : ${to}, recorded ${then}`).toBeLessThan(then * margin);
  }
}

describe("beside C in the same run", { timeout: 120_000 }, () => {
  const table = ["find", "fresh", "miss", "save", "delete", "memory"];
  const ids = [...table, "save-list", "load-list", "save-hash", "load-hash"];
  let now: Result;
  beforeAll(async () => {
    if (withoutPeers === undefined) now = await benchAgain(ids, (only) => bench(only, "7530"));
  }, 120_000);

  for (const id of ids) {
    it(`${id} is within ${margin} times of its recorded ratio`, (context) => {
      if (withoutPeers !== undefined) context.skip(withoutPeers);
      expectAsRecorded(now, id);
    });
  }

  it("does the work: both sides come to the same check", (context) => {
    if (withoutPeers !== undefined) return context.skip(withoutPeers);
    for (const { ours, peers: others } of now.rows) for (const peer of others) expect(peer.check).toBe(ours.check);
  });
});

describe("compiled descriptions beside code written by hand", { timeout: 120_000 }, () => {
  const ids = ["records-load", "records-save", "nested-load", "nested-save"];
  let now: Result;
  beforeAll(async () => {
    now = await benchAgain(ids, (only) => bench(only, "5000", 1, "--first-peer"));
  }, 120_000);

  for (const id of ids) it(`${id} is within ${margin} times of its recorded ratio`, () => expectAsRecorded(now, id));
});

describe("growth, in JavaScript alone", { timeout: 120_000 }, () => {
  it("a list's time for N look-ups grows with N², the table's with N", async () => {
    const { rows } = await bench("find,list", "540,7530");
    const total = (id: string, n: number) => {
      const row = rows.find((each) => each.id === id && each.n === n);
      return (row?.ours.min ?? Number.NaN) * n;
    };
    // 540 to 7,530 is 13.9 times: the table would take that, a list 194 times.
    const times = 7530 / 540;
    expect(total("find", 7530) / total("find", 540)).toBeLessThan(times * 4);
    expect(total("list", 7530) / total("list", 540)).toBeGreaterThan(times * 4);
    expect(total("list", 7530) / total("find", 7530)).toBeGreaterThan(20);
  });
});
