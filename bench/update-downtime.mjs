// How long the guest stands still in a live update: cprkit update (through its tap) beside a hand-written script that
// gives the same QMP commands without a tap; by QMP's timestamps and as the guest's own counter shows it.
//
// Usage: npm run build && node bench/update-downtime.mjs [--runs 10] [--accel tcg|kvm] [--from 10.0] [--to 10.0]
// Runs alternate; each has a VM of its own. Results: bench/results/update-downtime-ACCEL-FROM-TO.json

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { guestFirmware } from "../dist/cli/demo/guest-firmware.js";
import { listeningUnixSockets } from "../dist/linux/index.js";
import { connectQmp, updateVm } from "../dist/qemu/index.js";
import { adopt, binary, kill, root, spread, start } from "./qemu.mjs";

const { values } = parseArgs({
  options: {
    runs: { type: "string", default: "10" },
    accel: { type: "string", default: "tcg" },
    from: { type: "string", default: "10.0" },
    to: { type: "string", default: "10.0" },
  },
});
const runs = Number(values.runs);

const ways = {
  cprkit: async (vm) => {
    const start = performance.now();
    const report = await updateVm({ qmp: vm.qmp }, { qemu: binary(values.to), stateDir: join(vm.dir, "state") });
    adopt(report.pid);
    const total = performance.now() - start;
    return { pid: report.pid, total, downtime: report.downtimeMs, stop: report.stopUs, resume: report.resumeUs };
  },
  "by hand": byHand,
};

const samples = { cprkit: [], "by hand": [] };
for (let run = 0; run < runs; run++) {
  // Who goes first alternates, too.
  const order = run % 2 === 0 ? Object.keys(ways) : Object.keys(ways).reverse();
  for (const way of order) {
    samples[way].push(await once(ways[way]));
    process.stderr.write(`\r${run + 1}/${runs} ${way}      `);
  }
}
process.stderr.write("\n");

const fields = {
  downtime: "downtime by QMP, STOP to RESUME",
  gap: "gap as the guest's counter shows it",
  before: "  last count to STOP",
  after: "  RESUME to first count",
  interval: "usual time between two counts",
  total: "whole update",
};
const summary = {};
for (const [way, list] of Object.entries(samples)) {
  summary[way] = Object.fromEntries(Object.keys(fields).map((field) => [field, spread(list.map((one) => one[field]))]));
}
const result = {
  what: "update-downtime",
  accel: values.accel,
  from: values.from,
  to: values.to,
  machine: { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version },
  runs,
  unit: "ms",
  summary,
  samples,
};
const folder = join(root, "bench/results");
mkdirSync(folder, { recursive: true });
const file = join(folder, `update-downtime-${values.accel}-${values.from}-${values.to}.json`);
writeFileSync(file, `${JSON.stringify(result, undefined, 1)}\n`);
process.stdout.write(
  `QEMU ${values.from} to ${values.to}, ${values.accel}, ${runs} runs each; median (min to max), ms\n`,
);
for (const [field, text] of Object.entries(fields)) {
  const cell = (way) => {
    const { median, min, max } = summary[way][field];
    return `${median.toFixed(1)} (${min.toFixed(1)} to ${max.toFixed(1)})`;
  };
  process.stdout.write(`${text.padEnd(40)}cprkit ${cell("cprkit").padEnd(28)}by hand ${cell("by hand")}\n`);
}

/** Starts a VM, lets it count, updates it one way, and looks at the counter around the hand-over. */
async function once(way) {
  const dir = mkdtempSync(join(tmpdir(), "cprkit-bench-"));
  const counts = [];
  // Of both QEMUs: one begins a line, the other ends it.
  let rest = "";
  const server = createServer((socket) => {
    socket.setEncoding("latin1");
    socket.on("error", () => socket.destroy());
    socket.on("data", (text) => {
      // QMP's timestamps are the host's clock; so are these.
      const at = performance.timeOrigin + performance.now();
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) if (line.startsWith("T ")) counts.push({ value: Number(line.slice(2)), at });
    });
  });
  await new Promise((resolve) => server.listen(join(dir, "serial"), resolve));
  writeFileSync(join(dir, "guest.rom"), guestFirmware());
  const qmp = join(dir, "qmp");
  const source = start(binary(values.from), argumentsOf(dir, qmp));
  const pids = [source.pid];
  try {
    await until(() => counts.length >= 50, "the guest did not count");
    const outcome = await way({ dir, qmp });
    pids.push(outcome.pid);
    const end = counts.length + 30;
    await until(() => counts.length >= end, "the guest does not count any more");
    return { ...outcome, ...gapOf(counts, outcome) };
  } finally {
    for (const pid of pids) kill(pid);
    await source.ended;
    server.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

/** The largest gap between two counts, and what of it lies before STOP and after RESUME. */
function gapOf(counts, { stop, resume }) {
  const intervals = [];
  let widest = 0;
  let at = 1;
  for (let index = 1; index < counts.length; index++) {
    if (counts[index].value !== counts[index - 1].value + 1) throw new Error("a count was lost");
    const interval = counts[index].at - counts[index - 1].at;
    intervals.push(interval);
    // Only around the hand-over: the machine may be busy at other times.
    const spans = counts[index].at >= stop / 1000 && counts[index - 1].at <= resume / 1000;
    if (spans && interval > widest) [widest, at] = [interval, index];
  }
  return {
    gap: widest,
    before: Math.max(0, stop / 1000 - counts[at - 1].at),
    after: Math.max(0, counts[at].at - resume / 1000),
    interval: spread(intervals).median,
  };
}

/** What an operator types, as a script: two terminals' worth of QMP, no tap, nothing checked. */
async function byHand({ dir, qmp }) {
  const begin = performance.now();
  const path = (name) => join(dir, name);
  const cpr = { "channel-type": "cpr", addr: { transport: "socket", type: "unix", path: path("cpr") } };
  const destination = start(binary(values.to), [
    ...argumentsOf(dir, path("qmp-new")),
    ...["-incoming", "defer", "-incoming", JSON.stringify(cpr)],
  ]);
  await until(() => listeningUnixSockets().some((socket) => socket.path === path("cpr")), "no CPR listener", 1);
  const old = await connectQmp(qmp);
  const on = (names) => ({ capabilities: names.map((capability) => ({ capability, state: true })) });
  await old.execute("migrate-set-capabilities", on(["events", "return-path"]));
  await old.execute("migrate-set-parameters", { mode: "cpr-transfer" });
  const main = { "channel-type": "main", addr: { transport: "socket", type: "unix", path: path("main") } };
  await old.execute("migrate", { channels: [main, cpr] });
  const next = await connectQmp(path("qmp-new"), { waitMs: 10_000 });
  await next.execute("migrate-set-capabilities", on(["events"]));
  await next.execute("migrate-incoming", { uri: `unix:${path("main")}` });
  const resume = await next.waitForEvent("RESUME", { since: 0 });
  const stop = await old.waitForEvent("STOP", { since: 0 });
  await next.waitForEvent(({ name, data }) => name === "MIGRATION" && data.status === "completed", { since: 0 });
  await old.waitForEvent(({ name, data }) => name === "MIGRATION" && data.status === "completed", { since: 0 });
  await old.execute("quit").catch(() => undefined);
  await old.closed;
  await next.close();
  return {
    pid: destination.pid,
    total: performance.now() - begin,
    downtime: (resume.timeUs - stop.timeUs) / 1000,
    stop: stop.timeUs,
    resume: resume.timeUs,
  };
}

function argumentsOf(dir, qmp) {
  return [
    ["-machine", `pc-q35-10.0,accel=${values.accel},memory-backend=ram0,aux-ram-share=on`, "-m", "64"],
    ["-object", "memory-backend-memfd,id=ram0,size=64M,share=on", "-display", "none", "-nodefaults"],
    ["-bios", join(dir, "guest.rom"), "-chardev", `socket,id=s0,path=${join(dir, "serial")}`, "-serial", "chardev:s0"],
    ["-qmp", `unix:${qmp},server=on,wait=off`],
  ].flat();
}

async function until(isTrue, problem, stepMs = 5) {
  const end = performance.now() + 20_000;
  while (!isTrue()) {
    if (performance.now() > end) throw new Error(problem);
    await sleep(stepMs);
  }
}
