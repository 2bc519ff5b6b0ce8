// Many VMs on one host: commands one after the other, commands all at once, and one command for all of them.
//
// Usage: npm run build && node bench/many.mjs [--count 8] [--runs 3] [--ways "one after the other,all at once,one command"]
//        [--from 10.0] [--to 10.0] [--first FOLDER] [--output bench/results]
// The same VMs are updated again and again, the ways by turns; their guests have nothing to do. CPU is that of the commands
// with what they asked of QEMU binaries, not of the VMs. --first: a built checkout of another version, whose commands are
// measured beside, one after the other. Results: many-COUNT.json

import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { guestFirmware } from "../dist/cli/demo/guest-firmware.js";
import { connectQmp } from "../dist/qemu/index.js";
import { adopt, binary, kill, root, spread, start } from "./qemu.mjs";

const { values } = parseArgs({
  options: {
    count: { type: "string", default: "8" },
    runs: { type: "string", default: "3" },
    from: { type: "string", default: "10.0" },
    to: { type: "string", default: "10.0" },
    first: { type: "string" },
    output: { type: "string", default: join(root, "bench/results") },
    ways: { type: "string", default: "one after the other,all at once,one command" },
  },
});
const count = Number(values.count);
const dir = mkdtempSync(join(tmpdir(), "cprkit-many-"));
const vms = Array.from({ length: count }, (_, at) => join(dir, `qmp${at}`));
const itsOwn = values.first === undefined ? [] : vms.map((qmp) => `${qmp}-first`);
const common = ["--qemu", binary(values.to), "--state-dir", join(dir, "state"), "--timeout", "300", "--json"];

const ways = {
  "one after the other": async () => {
    const all = [];
    for (const qmp of vms) all.push(await command(["--qmp", qmp]));
    return all;
  },
  "all at once": () => Promise.all(vms.map((qmp) => command(["--qmp", qmp]))),
  "one command": async () => [await command(["--qmp", ...vms])],
  "first version": async () => {
    const all = [];
    // VMs of its own: an older version does not know what a newer one has written into a command line.
    for (const qmp of itsOwn) all.push(await command(["--qmp", qmp], values.first));
    return all;
  },
};
const chosen = [...values.ways.split(","), ...(values.first === undefined ? [] : ["first version"])];

const pids = new Set();
const samples = {};
try {
  writeFileSync(join(dir, "guest.rom"), guestFirmware());
  for (const qmp of [...vms, ...itsOwn]) pids.add(start(binary(values.from), argumentsOf(qmp)).pid);
  for (const qmp of [...vms, ...itsOwn]) await (await connectQmp(qmp, { waitMs: 60_000 })).close();
  for (let run = 0; run < Number(values.runs); run++) {
    for (const way of chosen) {
      await sleep(500);
      const begin = performance.now();
      const commands = await ways[way]();
      const wall = performance.now() - begin;
      const reports = commands.flatMap((one) => one.reports);
      if (reports.length !== count) throw new Error(`${way}: ${reports.length} of ${count} were updated`);
      for (const { pid } of reports) {
        pids.add(pid);
        adopt(pid);
      }
      samples[way] ??= [];
      samples[way].push({
        wall,
        cpu: commands.reduce((sum, one) => sum + one.cpu, 0) / count,
        memory: Math.max(...commands.map((one) => one.memory)),
        ...Object.fromEntries(
          Object.entries(spread(reports.map((report) => report.downtimeMs))).map(([name, ms]) => [`${name}Pause`, ms]),
        ),
      });
      process.stderr.write(`\r${run + 1}/${values.runs} ${way}            `);
    }
  }
  process.stderr.write("\n");
} finally {
  for (const pid of pids) kill(pid);
  rmSync(dir, { recursive: true, force: true });
}

const fields = {
  wall: "all of them, ms",
  cpu: "CPU for each VM, ms",
  memory: "peak memory of a command, MB",
  medianPause: "downtime, median, ms",
  maxPause: "downtime, longest, ms",
};
const summary = Object.fromEntries(
  Object.entries(samples).map(([way, list]) => [
    way,
    Object.fromEntries(Object.keys(fields).map((field) => [field, spread(list.map((one) => one[field]))])),
  ]),
);
const machine = { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version };
mkdirSync(values.output, { recursive: true });
const file = join(values.output, `many-${count}.json`);
writeFileSync(
  file,
  `${JSON.stringify({ what: "many", count, machine, runs: Number(values.runs), summary, samples }, undefined, 1)}\n`,
);
process.stdout.write(
  `${count} VMs, QEMU ${values.from} to ${values.to}, TCG, ${machine.cpu}, ${machine.cores} cores, Node ${machine.node}; `,
);
process.stdout.write(`${values.runs} runs; median (min to max)\n`);
for (const [field, text] of Object.entries(fields)) {
  const cells = Object.entries(summary).map(([way, by]) => {
    const { median, min, max } = by[field];
    return `${way} ${median.toFixed(1)} (${min.toFixed(1)} to ${max.toFixed(1)})`;
  });
  process.stdout.write(`${text.padEnd(30)}${cells.join("   ")}\n`);
}

/** A command until it has ended; its CPU and memory as they were when it printed its last line. */
async function command(words, checkout = root) {
  const child = spawn(process.execPath, [join(checkout, "bin/cprkit"), "update", ...words, ...common], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [text, errors, cpu, memory] = ["", "", 0, 0];
  child.stderr.setEncoding("utf8").on("data", (part) => {
    errors += part;
  });
  child.stdout.setEncoding("utf8").on("data", (part) => {
    text += part;
    if (!part.endsWith("\n")) return;
    try {
      const fieldsOf = readFileSync(`/proc/${child.pid}/stat`, "utf8")
        .replace(/^.*\) /, "")
        .split(" ");
      // utime, stime, cutime, cstime in hundredths of a second (proc_pid_stat(5)).
      cpu = fieldsOf.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) * 10;
      const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
      memory = Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1] ?? memory * 1024) / 1024;
    } catch {
      // It has ended: the values of before count.
    }
  });
  await new Promise((resolve) => child.once("close", resolve));
  const lines = text
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));
  const reports = lines.flatMap((line) =>
    line.event === undefined ? [line] : line.outcome === "updated" ? [line.report] : [],
  );
  if (child.exitCode !== 0)
    throw new Error(`cprkit update ended with ${child.exitCode}: ${errors.slice(-500)} ${text.slice(-300)}`);
  return { cpu, memory, reports };
}

function argumentsOf(qmp) {
  return [
    ...["-machine", "pc-q35-10.0,aux-ram-share=on,memory-backend=ram0", "-accel", "tcg", "-display", "none"],
    ...["-object", "memory-backend-memfd,id=ram0,size=16M,share=on", "-nodefaults"],
    // For who ends them: see qemu.mjs. A guest without a start that waits for nothing.
    ...[
      "-name",
      `guest=${qmp.slice(-6)},debug-threads=off`,
      "-fw_cfg",
      `name=opt/bench,file=${join(dir, "guest.rom")}`,
    ],
    ...["-qmp", `unix:${qmp},server=on,wait=off`],
  ];
}
