// Times `cprkit inspect` on migration streams of real QEMU beside `cat FILE >/dev/null` and, where it is found, QEMU's
// analyze-migration.py, at two sizes, with peak memory. Run after a build:
//
//   node bench/inspect-1gib.mjs [--sizes 256,1024] [--rounds 9] [--script PATH/analyze-migration.py] [--dir FOLDER]
//
// Results go to bench/results/inspect.json. Sizes are MiB of guest RAM, filled with random bytes.

import { spawn } from "node:child_process";
import { randomFillSync } from "node:crypto";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { cpus, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { connectQmp } from "../dist/qemu/index.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const { values } = parseArgs({
  options: {
    sizes: { type: "string", default: "256,1024" },
    rounds: { type: "string", default: "9" },
    script: { type: "string", default: process.env.ANALYZE_MIGRATION ?? "" },
    qemu: { type: "string", default: join(root, ".cache/qemu/10.0/qemu-system-x86_64") },
    dir: { type: "string", default: tmpdir() },
  },
});

const mib = 1 << 20;
const rounds = Number(values.rounds);
if (!existsSync(values.qemu)) {
  console.error(`QEMU is missing at ${values.qemu}: run "npm run qemu", or name it with --qemu`);
  process.exit(4);
}
const dir = mkdtempSync(join(values.dir, "cprkit-bench-"));
process.on("exit", () => rmSync(dir, { recursive: true, force: true }));
process.on("SIGINT", () => process.exit(130));

const contestants = [
  ["cat", "/bin/sh", (file) => ["-c", 'exec cat "$0" >/dev/null', file]],
  ["cprkit inspect", process.execPath, (file) => [join(root, "bin/cprkit"), "inspect", file]],
  [
    "cprkit inspect (pipe)",
    "/bin/sh",
    (file) => ["-c", `cat "$0" | exec "${process.execPath}" "${join(root, "bin/cprkit")}" inspect -`, file],
  ],
  ...(existsSync(values.script)
    ? [["analyze-migration.py", "python3", (file) => [values.script, "-f", file, "-d", "state"]]]
    : []),
];

const results = [];
for (const size of values.sizes.split(",").map(Number)) {
  const file = await makeStream(size);
  const bytes = statSync(file).size;
  console.log(`${size} MiB of RAM, a stream of ${(bytes / mib).toFixed(0)} MiB, ${rounds} rounds`);
  const samples = new Map(contestants.map(([name]) => [name, []]));
  for (const [, program, args] of contestants) await timed(program, args(file));
  // Interleaved: a slow moment of the machine hits all alike.
  for (let round = 0; round < rounds; round++) {
    for (const [name, program, args] of contestants) samples.get(name).push(await timed(program, args(file)));
  }
  const cat = median(samples.get("cat").map(({ ms }) => ms));
  for (const [name, runs] of samples) {
    const ms = runs.map((run) => run.ms);
    // Of a pipe, the shell's memory is no measure.
    const peakMib = name.includes("pipe") ? null : Math.max(...runs.map((run) => run.peakKib)) / 1024;
    const row = {
      name,
      ramMib: size,
      streamBytes: bytes,
      medianMs: median(ms),
      minMs: Math.min(...ms),
      toCat: median(ms) / cat,
      peakMib,
    };
    results.push(row);
    console.log(
      `  ${name.padEnd(24)} median ${row.medianMs.toFixed(0).padStart(6)} ms  min ${row.minMs.toFixed(0).padStart(6)} ms  ${row.toCat.toFixed(2).padStart(6)} x cat  ${peakMib === null ? "" : `peak ${peakMib.toFixed(0).padStart(4)} MiB`}`,
    );
  }
  rmSync(file);
}
mkdirSync(join(root, "bench/results"), { recursive: true });
const machine = {
  cpu: cpus()[0]?.model,
  cores: cpus().length,
  memoryGib: Math.round(totalmem() / 2 ** 30),
  node: process.version,
};
writeFileSync(join(root, "bench/results/inspect.json"), `${JSON.stringify({ machine, rounds, results }, null, 2)}\n`);

/** A machine with so much random RAM, saved by QEMU itself. */
async function makeStream(size) {
  const ram = join(dir, "ram");
  const fd = openSync(ram, "w");
  const chunk = new Uint8Array(mib);
  for (let i = 0; i < size; i++) writeSync(fd, randomFillSync(chunk));
  closeSync(fd);
  const monitor = join(dir, "qmp.sock");
  const child = spawn(
    values.qemu,
    [
      ["-machine", "pc-q35-10.0,accel=tcg,memory-backend=ram0", "-m", String(size)],
      ["-object", `memory-backend-file,id=ram0,size=${size}M,mem-path=${ram},share=on`],
      ["-display", "none", "-nodefaults", "-no-user-config", "-S"],
      ["-qmp", `unix:${monitor},server=on,wait=off`],
    ].flat(),
    { stdio: "inherit" },
  );
  const file = join(dir, "saved.mig");
  try {
    const qmp = await connectQmp(monitor, { waitMs: 20_000 });
    await qmp.execute("migrate-set-parameters", { "max-bandwidth": 2 ** 40 });
    await qmp.execute("migrate", { uri: `file:${file}` });
    for (;;) {
      const { status } = await qmp.execute("query-migrate");
      if (status === "completed") break;
      if (status === "failed") throw new Error("QEMU could not save the machine");
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await qmp.execute("quit").catch(() => {});
    await qmp.close();
  } finally {
    child.kill("SIGKILL");
    rmSync(ram);
  }
  return file;
}

/** Runs a program; its time, and the most memory that it had. */
function timed(program, args) {
  return new Promise((resolve, reject) => {
    const start = performance.now();
    const child = spawn(program, args, { stdio: ["ignore", "ignore", "inherit"] });
    let peakKib = 0;
    const look = () => {
      try {
        const peak = /^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"));
        if (peak !== null) peakKib = Math.max(peakKib, Number(peak[1]));
      } catch {
        // It has ended.
      }
    };
    const timer = setInterval(look, 4);
    child.once("error", reject);
    child.once("exit", (code) => {
      const ms = performance.now() - start;
      clearInterval(timer);
      if (code === 0) resolve({ ms, peakKib });
      else reject(new Error(`${program} ${args.join(" ")} exited with ${code}`));
    });
  });
}

function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}
