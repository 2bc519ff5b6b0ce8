// Runs the rows: every side in turn, several times over, so that what else the machine does falls on all of them.

import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { CprState, saveCprState } from "cprkit/cpr";
import { benchKeys, writePeerFiles } from "./keys.ts";
import { findPeers, runSide } from "./peers.ts";
import { type Row, rows, type Side } from "./rows.ts";

/** One side's figures, in the row's unit. */
interface Figure {
  readonly label: string;
  readonly min: number;
  readonly median: number;
  readonly check?: number | undefined;
}

/** A row at one size. Ratios are cprkit to the peer of the same place in `peers`. */
export interface RowResult {
  readonly id: string;
  readonly what: string;
  readonly unit: Row["unit"];
  readonly n: number;
  readonly ours: Figure;
  readonly peers: readonly Figure[];
  readonly ratios: readonly Ratio[];
  /** Milliseconds by phase, where the case says them: medians. */
  readonly phases?: Readonly<Record<string, number>> | undefined;
}

export interface Ratio {
  readonly to: string;
  readonly min: number;
  readonly median: number;
  readonly aim?: number | undefined;
}

export interface BenchOptions {
  /** Ids of rows.ts; all of them if left out. */
  readonly only?: readonly string[] | undefined;
  /** Only these sizes of those that a row has. */
  readonly sizes?: readonly number[] | undefined;
  /** How often every side runs, and how many rounds each time. */
  readonly repeats: number;
  readonly rounds: number;
  readonly peersFolder?: string | undefined;
  /** Only the first peer of each row. */
  readonly firstPeer?: boolean | undefined;
  readonly signal: AbortSignal;
  readonly onStep: (text: string) => void;
}

export interface BenchResult {
  readonly rows: readonly RowResult[];
  readonly inspect?: { readonly ours: Figure; readonly node: Figure; readonly ratio: Ratio } | undefined;
  /** Why figures are missing. */
  readonly missing: readonly string[];
}

export async function runBench(options: BenchOptions): Promise<BenchResult> {
  const { only, sizes, onStep } = options;
  const wanted = (id: string) => only === undefined || only.includes(id);
  const peers = findPeers(options.peersFolder);
  const missing: string[] = [];
  if (peers === undefined) {
    missing.push("the C peers are not built here (in a checkout: npm run bench:peers; it needs gcc and make)");
  }
  const folder = mkdtempSync(join(tmpdir(), "cprkit-bench-"));
  try {
    const results: RowResult[] = [];
    for (const row of rows.filter(({ id }) => wanted(id))) {
      for (const n of row.sizes.filter((size) => sizes?.includes(size) ?? true)) {
        onStep(`${row.what}: ${n.toLocaleString("en-US")}`);
        results.push(await runRow(row, n, folder, peers, options));
      }
    }
    const inspect = wanted("inspect") ? await runInspect(folder, options) : undefined;
    return { rows: results, inspect, missing };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function runRow(
  row: Row,
  n: number,
  folder: string,
  peersFolder: string | undefined,
  { repeats, rounds, signal, firstPeer }: BenchOptions,
): Promise<RowResult> {
  const inOrder = row.id === "find-in-order";
  const files = { names: join(folder, `${n}.names`), order: join(folder, `${n}.${inOrder ? "in-" : ""}order`) };
  writePeerFiles(n, files.names, files.order, inOrder);
  const built = row.peers.filter(({ program }) => program === "cprkit" || peersFolder !== undefined);
  const sides = [row.ours, ...(firstPeer === true ? built.slice(0, 1) : built)];
  const samples = new Map<Side, number[]>(sides.map((side) => [side, []]));
  const checks = new Map<Side, number | undefined>();
  // The slow ones, and those that say one figure only, need no more.
  const phases: Readonly<Record<string, number>>[] = [];
  for (let repeat = 0; repeat < repeats * (row.times ?? 1); repeat++) {
    for (const side of sides) {
      const result = await runSide(side, n, rounds, files, peersFolder, signal);
      checks.set(side, result.check);
      if (side === row.ours && result.phases_ms !== undefined) phases.push(result.phases_ms);
      const divisor = row.unit === "ms" ? 1e6 : (result.ops ?? 1);
      const values = result.samples_ns?.map((ns) => ns / divisor) ?? [result.bytes_per_fd ?? Number.NaN];
      samples.get(side)?.push(...values);
    }
  }
  checkSame(row, n, checks);
  const figure = (side: Side): Figure => ({ ...summary(side.label, samples.get(side) ?? []), check: checks.get(side) });
  const ours = figure(row.ours);
  const peers = sides.slice(1).map(figure);
  const ratios = peers.map((peer) => ({
    to: peer.label,
    min: ours.min / peer.min,
    median: ours.median / peer.median,
    aim: row.aims[row.peers.findIndex(({ label }) => label === peer.label)],
  }));
  const medians = phases[0] === undefined ? undefined : mediansOf(phases);
  return { id: row.id, what: row.what, unit: row.unit, n, ours, peers, ratios, phases: medians };
}

function mediansOf(phases: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const names = Object.keys(phases[0] ?? {});
  return Object.fromEntries(
    names.map((name) => [
      name,
      summary(
        name,
        phases.map((each) => each[name] ?? Number.NaN),
      ).median,
    ]),
  );
}

/** All sides must have come to the same result: none may have left work out. */
function checkSame(row: Row, n: number, checks: ReadonlyMap<Side, number | undefined>): void {
  const expected = checks.get(row.ours);
  for (const [side, check] of checks) {
    if (check !== expected)
      throw new Error(`${row.id}, ${n}: cprkit came to ${expected}, ${side.label} (${side.case}) to ${check}`);
  }
}

/** `cprkit inspect` on a small state beside a Node that does nothing. */
async function runInspect(folder: string, { repeats, rounds, signal, onStep }: BenchOptions) {
  onStep("cold start of cprkit inspect");
  const state = new CprState();
  for (const [fd, { name, id }] of benchKeys(20).entries()) state.saveFd(name, id, fd);
  const file = join(folder, "small.cpr");
  writeFileSync(file, saveCprState(state).bytes);
  const cprkit = fileURLToPath(new URL("../../bin/cprkit", import.meta.url));
  const times: Record<"ours" | "node", number[]> = { ours: [], node: [] };
  for (let run = 0; run < repeats * rounds; run++) {
    times.ours.push(await timeProcess([cprkit, "inspect", file], signal));
    times.node.push(await timeProcess(["-e", "0"], signal));
  }
  const ours = summary("cprkit inspect", times.ours);
  const node = summary("node -e 0", times.node);
  const ratio = { to: node.label, min: ours.min / node.min, median: ours.median / node.median, aim: 1.5 };
  return { ours, node, ratio };
}

async function timeProcess(args: readonly string[], signal: AbortSignal): Promise<number> {
  const start = process.hrtime.bigint();
  await promisify(execFile)(process.execPath, args, { signal });
  return Number(process.hrtime.bigint() - start) / 1e6;
}

function summary(label: string, samples: readonly number[]): Figure {
  const sorted = [...samples].sort((a, b) => a - b);
  return { label, min: sorted[0] ?? Number.NaN, median: sorted[sorted.length >> 1] ?? Number.NaN };
}
