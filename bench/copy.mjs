// Mode copy, by cprkit and by a hand-written script that gives the same QMP commands, for several sizes of RAM; and by
// hand with multifd channels, to see whether they help on one host.
//
// Usage: npm run build && node bench/copy.mjs [--runs 5] [--from 10.0] [--to 11.1] [--sizes 256,1024,4096]
// The guest's RAM holds random bytes, so no page is sent as zeros. Runs alternate; each has a VM of its own.
// Results: bench/results/copy-FROM-TO.json

import { randomFillSync } from "node:crypto";
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { guestFirmware } from "../dist/cli/demo/guest-firmware.js";
import { connectQmp, updateVm } from "../dist/qemu/index.js";
import { adopt, binary, kill, root, spread, start } from "./qemu.mjs";

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "5" },
    from: { type: "string", default: "10.0" },
    to: { type: "string", default: "11.1" },
    sizes: { type: "string", default: "256,1024,4096" },
  },
});

const ways = {
  cprkit: byCprkit,
  "by hand": (vm) => byHand(vm, 0),
  "by hand, 2 channels": (vm) => byHand(vm, 2),
  "by hand, 4 channels": (vm) => byHand(vm, 4),
};
const fields = {
  migration: "RAM and state, first byte to last (QEMU's total-time)",
  downtime: "pause, STOP to RESUME",
  whole: "all: a new QEMU started, copied, the old one ended",
};

const result = {
  what: "copy",
  date: new Date().toISOString().slice(0, 10),
  from: values.from,
  to: values.to,
  machine: { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version },
  runs: Number(values.runs),
  unit: "ms",
  sizes: {},
};
for (const size of values.sizes.split(",").map(Number)) {
  const folder = mkdtempSync(join("/dev/shm", "cprkit-bench-"));
  const ram = join(folder, "ram");
  fill(ram, size);
  const samples = Object.fromEntries(Object.keys(ways).map((way) => [way, []]));
  try {
    for (let run = 0; run < result.runs; run++) {
      const order = run % 2 === 0 ? Object.keys(ways) : Object.keys(ways).reverse();
      for (const way of order) {
        samples[way].push(await once(ways[way], ram, size));
        process.stderr.write(`\r${size} MiB: ${run + 1}/${result.runs} ${way}          `);
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  result.sizes[size] = Object.fromEntries(
    Object.entries(samples).map(([way, list]) => [
      way,
      Object.fromEntries(Object.keys(fields).map((field) => [field, spread(list.map((one) => one[field]))])),
    ]),
  );
}
process.stderr.write("\n");
mkdirSync(join(root, "bench/results"), { recursive: true });
writeFileSync(
  join(root, `bench/results/copy-${values.from}-${values.to}.json`),
  `${JSON.stringify(result, undefined, 1)}\n`,
);
process.stdout.write(
  `QEMU ${values.from} to ${values.to}, TCG, ${result.runs} runs each, ${result.machine.cpu}, ${result.machine.cores} cores, Node ${process.version}\n`,
);
for (const [size, summary] of Object.entries(result.sizes)) {
  for (const [field, text] of Object.entries(fields)) {
    process.stdout.write(`${size} MiB, ${text}; min / median, ms\n`);
    for (const [way, { [field]: one }] of Object.entries(summary)) {
      process.stdout.write(`  ${way.padEnd(22)}${one.min.toFixed(1).padStart(9)} / ${one.median.toFixed(1)}\n`);
    }
  }
}

/** A file of random bytes. */
function fill(path, mib) {
  const fd = openSync(path, "w");
  const block = Buffer.alloc(1 << 20);
  for (let at = 0; at < mib; at++) writeSync(fd, randomFillSync(block));
  closeSync(fd);
}

async function once(way, ram, size) {
  const dir = mkdtempSync(join(tmpdir(), "cprkit-bench-"));
  writeFileSync(join(dir, "guest.rom"), guestFirmware());
  const qmp = join(dir, "qmp");
  // A private mapping: RAM as of a VM that was not started for CPR.
  const backend = `memory-backend-file,id=ram0,size=${size}M,share=off,mem-path=${ram}`;
  const source = start(binary(values.from), [...argumentsOf(dir, size), "-object", backend, ...monitor(qmp)]);
  const pids = [source.pid];
  try {
    const first = await connectQmp(qmp, { waitMs: 10_000 });
    await first.close();
    const outcome = await way({ dir, qmp, size });
    pids.push(outcome.pid);
    return outcome;
  } finally {
    for (const pid of pids) kill(pid);
    await source.ended;
    rmSync(dir, { recursive: true, force: true });
  }
}

async function byCprkit({ dir, qmp }) {
  const begin = performance.now();
  let migration;
  const report = await updateVm(
    { qmp },
    {
      qemu: binary(values.to),
      mode: "copy",
      stateDir: join(dir, "state"),
      // The old QEMU is asked for its own figure before it is ended.
      onStep: async (step) => {
        if (step !== "running") return;
        migration = await totalTimeOf(join(dir, "qmp-look"));
      },
    },
  );
  adopt(report.pid);
  return { pid: report.pid, migration, downtime: report.downtimeMs, whole: performance.now() - begin };
}

async function totalTimeOf(path) {
  const qmp = await connectQmp(path);
  try {
    return (await qmp.execute("query-migrate"))["total-time"];
  } finally {
    await qmp.close();
  }
}

/** What an operator types, as a script; `channels`: of multifd, 0 for none. */
async function byHand({ dir, qmp, size }, channels) {
  const begin = performance.now();
  const backend = `memory-backend-memfd,id=ram0,size=${size}M,share=on`;
  const destination = start(binary(values.to), [
    ...argumentsOf(dir, size, ",aux-ram-share=on"),
    ...["-object", backend, "-incoming", "defer", "-qmp", `unix:${qmp}-new,server=on,wait=off`],
  ]);
  const [old, next] = [await connectQmp(qmp), await connectQmp(`${qmp}-new`, { waitMs: 10_000 })];
  const both = ["events", ...(channels === 0 ? [] : ["multifd"])];
  const on = (names) => ({ capabilities: names.map((capability) => ({ capability, state: true })) });
  await old.execute("migrate-set-capabilities", on([...both, "return-path"]));
  await next.execute("migrate-set-capabilities", on(both));
  const parameters = { "max-bandwidth": 2 ** 40, ...(channels === 0 ? {} : { "multifd-channels": channels }) };
  for (const monitor of [old, next]) await monitor.execute("migrate-set-parameters", parameters);
  const uri = `unix:${join(dir, "main")}`;
  await next.execute("migrate-incoming", { uri });
  await old.execute("migrate", { uri });
  const completed = ({ name, data }) => name === "MIGRATION" && data.status === "completed";
  const resume = await next.waitForEvent("RESUME", { since: 0, timeoutMs: 120_000 });
  const stop = await old.waitForEvent("STOP", { since: 0, timeoutMs: 120_000 });
  await old.waitForEvent(completed, { since: 0, timeoutMs: 120_000 });
  const migration = (await old.execute("query-migrate"))["total-time"];
  await old.execute("quit").catch(() => undefined);
  await old.closed;
  await next.close();
  return {
    pid: destination.pid,
    migration,
    downtime: (resume.timeUs - stop.timeUs) / 1000,
    whole: performance.now() - begin,
  };
}

function argumentsOf(dir, size, more = "") {
  return [
    [
      "-machine",
      `pc-q35-10.0,accel=tcg,memory-backend=ram0${more}`,
      "-m",
      `${size}M`,
      "-display",
      "none",
      "-nodefaults",
    ],
    ["-bios", join(dir, "guest.rom"), "-serial", "null"],
  ].flat();
}

/** Two: cprkit holds the first, the bench looks through the second. */
function monitor(path) {
  return ["-qmp", `unix:${path},server=on,wait=off`, "-qmp", `unix:${path}-look,server=on,wait=off`];
}
