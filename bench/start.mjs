// How long commands take to start: the bundled command line with and without V8's kept code, and the same code as modules,
// beside `node -e 0`.
//
// Usage: npm run build && node bench/start.mjs [--runs 15] [--ways modules,…] [--output bench/results]
// Results: start.json in the folder of --output

import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { root, spread } from "./qemu.mjs";

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "15" },
    ways: { type: "string", default: "modules,bundle without kept code,bundle" },
    output: { type: "string", default: join(root, "bench/results") },
  },
});
const dir = mkdtempSync(join(tmpdir(), "cprkit-start-"));
const modules = join(dir, "modules.mjs");
writeFileSync(
  modules,
  `import { run } from ${JSON.stringify(join(root, "dist/cli/main.js"))};\nprocess.exitCode = await run(process.argv.slice(2));\n`,
);
const commands = {
  "inspect small": ["inspect", join(root, "test/fixtures/migration/cpr-main-microvm-10.0.mig")],
  "--version": ["--version"],
  "--help": ["--help"],
  status: ["status", "--state-dir", dir],
  "update --help": ["update", "--help"],
};
const ways = {
  modules: (words) => [[modules, ...words], {}],
  "bundle without kept code": (words) => [[join(root, "bin/cprkit"), ...words], { CPRKIT_NO_CODE_CACHE: "1" }],
  bundle: (words) => [[join(root, "bin/cprkit"), ...words], {}],
};
const base = [];
const times = {};
try {
  for (let run = -1; run < Number(values.runs); run++) {
    // The first round fills the caches of the system and of V8.
    const keep = (list, ms) => run >= 0 && list.push(ms);
    keep(base, time(["-e", "0"], {}));
    for (const [name, words] of Object.entries(commands)) {
      times[name] ??= {};
      for (const [way, how] of Object.entries(ways)) {
        if (!values.ways.split(",").includes(way)) continue;
        times[name][way] ??= [];
        keep(times[name][way], time(...how(words)));
      }
    }
  }
} finally {
  rmSync(dir, { recursive: true, force: true });
}
const node = spread(base);
const summary = Object.fromEntries(
  Object.entries(times).map(([name, by]) => [
    name,
    Object.fromEntries(
      Object.entries(by).map(([way, list]) => {
        const { min, median } = spread(list);
        return [way, { min, median, ofNode: median / node.median }];
      }),
    ),
  ]),
);
const machine = { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version };
mkdirSync(values.output, { recursive: true });
writeFileSync(
  join(values.output, "start.json"),
  `${JSON.stringify({ what: "start", machine, runs: Number(values.runs), unit: "ms", node, summary }, undefined, 1)}\n`,
);
process.stdout.write(`${machine.cpu}, ${machine.cores} cores, Node ${machine.node}, ${values.runs} runs by turns\n`);
process.stdout.write(`node -e 0: min ${node.min.toFixed(0)}, median ${node.median.toFixed(0)} ms\n`);
for (const [name, by] of Object.entries(summary)) {
  for (const [way, { min, median, ofNode }] of Object.entries(by)) {
    const figures = `min ${min.toFixed(0)}, median ${median.toFixed(0)} ms, ${ofNode.toFixed(2)} of node`;
    process.stdout.write(`${name.padEnd(16)}${way.padEnd(26)}${figures}\n`);
  }
}

function time(words, env) {
  const start = performance.now();
  const { status, signal } = spawnSync(process.execPath, words, {
    ...{ stdio: "ignore", env: { ...process.env, XDG_CACHE_HOME: dir, ...env } },
  });
  if (signal !== null || (status ?? 9) > 1) throw new Error(`${words.join(" ")} ended with ${status ?? signal}`);
  return performance.now() - start;
}
