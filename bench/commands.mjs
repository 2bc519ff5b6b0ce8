// Whole commands beside `node -e 0`, in short: starting them, an update, eight VMs. What `npm run bench` runs behind its own
// rows; start.mjs, update-command.mjs and many.mjs measure the same at length.
//
// Usage: npm run build && node bench/commands.mjs [--runs 7] [--output bench/results] [--first FOLDER]
// --first: a built checkout of another version, which is measured beside. Results: commands.json

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { binary, root } from "./qemu.mjs";

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "7" },
    output: { type: "string", default: join(root, "bench/results") },
    first: { type: "string" },
  },
});
const dir = mkdtempSync(join(tmpdir(), "cprkit-commands-"));
const first = values.first === undefined ? [] : ["--first", values.first];
const rows = [];
let machine;
try {
  const start = measured("start.mjs", ["--runs", values.runs, "--ways", "bundle"], "start.json");
  machine = start.machine;
  const aims = { "inspect small": 1.25, "--version": 1.3, "--help": 1.3, "update --help": 1.3, status: 1.6 };
  for (const [name, { bundle }] of Object.entries(start.summary)) {
    add(name, bundle.median, "node -e 0", start.node.median, aims[name]);
  }
  const missing = ["10.0", "11.1"].filter((version) => !existsSync(binary(version)));
  if (missing.length > 0) {
    process.stdout.write(`no updates were measured: QEMU ${missing.join(" and ")} is not here (npm run qemu)\n`);
  } else {
    for (const [from, to] of [
      ["10.0", "11.1"],
      ["11.1", "11.1"],
    ]) {
      const words = ["--runs", values.runs, "--from", from, "--to", to, ...first];
      const { summary } = measured("update-command.mjs", words, `update-command-${from}-${to}.json`);
      const { cprkit, "one probe": probe, "one start": oneStart } = summary;
      const name = `update, QEMU ${from} to ${to}`;
      add(name, cprkit.whole.median, "node -e 0", summary["node -e 0"].whole.median);
      const alone = probe.whole.median + oneStart.whole.median;
      add(`${name}: before the stop`, cprkit["before the stop"].median, "one probe and one start", alone, 1);
      const before = summary["first version"];
      if (before !== undefined) add(name, cprkit.whole.median, "the first version", before.whole.median, 0.45);
    }
    const words = [
      "--runs",
      "2",
      "--from",
      "11.1",
      "--to",
      "11.1",
      "--ways",
      "one after the other,one command",
      ...first,
    ];
    const { summary } = measured("many.mjs", words, "many-8.json");
    const { "one command": one, "one after the other": each, "first version": before } = summary;
    add("8 VMs, QEMU 11.1 to 11.1", one.wall.median, "8 commands one after the other", each.wall.median, 0.35);
    add("8 VMs: median pause", one.medianPause.median, "8 commands one after the other", each.medianPause.median, 1);
    if (before !== undefined) add("8 VMs: CPU of each", one.cpu.median, "the first version", before.cpu.median, 0.25);
  }
} finally {
  rmSync(dir, { recursive: true, force: true });
}
mkdirSync(values.output, { recursive: true });
const result = { what: "commands", machine, runs: Number(values.runs), unit: "ms", rows };
writeFileSync(join(values.output, "commands.json"), `${JSON.stringify(result, undefined, 1)}\n`);
process.stdout.write("whole commands, medians in ms\n");
for (const { what, ours, to, theirs, ratio, aim } of rows) {
  const verdict = aim === undefined ? "" : `  aim ${aim}: ${ratio <= aim ? "met" : "missed"}`;
  const figures = `${ours.toFixed(1).padStart(8)}  ${`${to} ${theirs.toFixed(1)}`.padEnd(44)}${ratio.toFixed(2).padStart(6)}`;
  process.stdout.write(`${what.padEnd(44)}${figures}${verdict}\n`);
}

function add(what, ours, to, theirs, aim) {
  rows.push({ what, ours, to, theirs, ratio: ours / theirs, aim });
}

function measured(script, words, file) {
  process.stderr.write(`${script}\n`);
  const run = spawnSync(process.execPath, [join(root, "bench", script), ...words, "--output", dir], {
    stdio: ["ignore", "ignore", "pipe"],
    encoding: "utf8",
    timeout: 180_000,
  });
  if (run.status !== 0)
    throw new Error(`bench/${script} ended with ${run.status ?? run.signal}: ${run.stderr.slice(-800)}`);
  return JSON.parse(readFileSync(join(dir, file), "utf8"));
}
