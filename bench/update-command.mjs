// `cprkit update` as a whole command, from its start to its end, and what QEMU alone takes: a start that answers one
// question and is ended (a probe), and a start with the VM's command line until its monitor answers. By turns.
//
// Usage: npm run build && node bench/update-command.mjs [--runs 7] [--from 10.0] [--to 10.0] [--first FOLDER]
//        [--output bench/results]
// --first: a built checkout of another version, which is measured beside it. Results: update-command-FROM-TO.json

import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { guestFirmware } from "../dist/cli/demo/guest-firmware.js";
import { connectQmp } from "../dist/qemu/index.js";
import { probeBinary } from "../dist/qemu/vm/probe.js";
import { adopt, binary, kill, root, spread, start } from "./qemu.mjs";

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "7" },
    from: { type: "string", default: "10.0" },
    to: { type: "string", default: "10.0" },
    first: { type: "string" },
    output: { type: "string", default: join(root, "bench/results") },
  },
});
const dir = mkdtempSync(join(tmpdir(), "cprkit-command-"));
const samples = {};
const note = (name, field, ms) => {
  samples[name] ??= {};
  samples[name][field] ??= [];
  samples[name][field].push(ms);
};
const pids = new Set();
try {
  writeFileSync(join(dir, "guest.rom"), guestFirmware());
  const ways = { cprkit: join(root, "bin/cprkit") };
  if (values.first !== undefined) ways["first version"] = join(values.first, "bin/cprkit");
  // The first round fills the caches.
  for (let run = -1; run < Number(values.runs); run++) {
    const keep = run < 0 ? () => undefined : note;
    const base = performance.now();
    spawnSync(process.execPath, ["-e", "0"], { stdio: "ignore" });
    keep("node -e 0", "whole", performance.now() - base);
    keep("one probe", "whole", await probe());
    keep("one start", "whole", await oneStart(run));
    for (const [way, program] of Object.entries(ways)) {
      // After an update it is another QEMU's: each gets a VM of its own.
      const vm = await startVm(`${way.replace(" ", "-")}${run}`);
      const begin = performance.now();
      const report = await command(program, vm);
      keep(way, "whole", performance.now() - begin);
      adopt(report.pid);
      pids.add(report.pid);
      keep(way, "update", report.totalMs);
      keep(way, "downtime", report.downtimeMs);
      const at = Object.fromEntries(report.phases.map(({ step, ms }) => [step, ms]));
      let sum = 0;
      for (const { step, ms } of report.phases) {
        sum += ms;
        if (step === "before-switch") break;
      }
      keep(way, "before the stop", sum);
      for (const [step, ms] of Object.entries(at)) keep(way, `  ${step}`, ms);
      kill(report.pid);
    }
  }
} finally {
  for (const pid of pids) kill(pid);
  rmSync(dir, { recursive: true, force: true });
}
const summary = Object.fromEntries(
  Object.entries(samples).map(([name, fields]) => [
    name,
    Object.fromEntries(Object.entries(fields).map(([field, list]) => [field, spread(list)])),
  ]),
);
const machine = { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version };
mkdirSync(values.output, { recursive: true });
const pair = `${values.from}-${values.to}`;
writeFileSync(
  join(values.output, `update-command-${pair}.json`),
  `${JSON.stringify({ what: "update-command", pair, machine, runs: Number(values.runs), unit: "ms", summary }, undefined, 1)}\n`,
);
for (const [name, fields] of Object.entries(summary)) {
  for (const [field, { min, median, max }] of Object.entries(fields)) {
    process.stdout.write(
      `${name.padEnd(16)}${field.padEnd(24)}${median.toFixed(1).padStart(8)} (${min.toFixed(1)} to ${max.toFixed(1)})\n`,
    );
  }
}

async function probe() {
  const begin = performance.now();
  await probeBinary([binary(values.to)], {});
  return performance.now() - begin;
}

async function oneStart(run) {
  const begin = performance.now();
  const vm = await startVm(`s${run}`);
  const ms = performance.now() - begin;
  kill(vm.pid);
  return ms;
}

async function startVm(name) {
  const qmp = join(dir, `${name}.qmp`);
  const { pid } = start(binary(values.from), argumentsOf(qmp));
  await (await connectQmp(qmp, { waitMs: 60_000 })).close();
  pids.add(pid);
  return { qmp, pid };
}

async function command(program, { qmp }) {
  const words = ["update", "--qmp", qmp, "--qemu", binary(values.to), "--state-dir", join(dir, "state"), "--json"];
  const child = spawn(process.execPath, [program, ...words], { stdio: ["ignore", "pipe", "pipe"] });
  let [text, errors] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (part) => {
    text += part;
  });
  child.stderr.setEncoding("utf8").on("data", (part) => {
    errors += part;
  });
  await new Promise((resolve) => child.once("close", resolve));
  if (child.exitCode !== 0) throw new Error(`${program} ended with ${child.exitCode}: ${errors.slice(-500)}`);
  return JSON.parse(text);
}

function argumentsOf(qmp) {
  return [
    ...["-machine", "pc-q35-10.0,aux-ram-share=on,memory-backend=ram0", "-accel", "tcg", "-display", "none"],
    ...["-object", "memory-backend-memfd,id=ram0,size=64M,share=on", "-nodefaults"],
    ...["-fw_cfg", `name=opt/bench,file=${join(dir, "guest.rom")}`],
    ...["-qmp", `unix:${qmp},server=on,wait=off`],
  ];
}
