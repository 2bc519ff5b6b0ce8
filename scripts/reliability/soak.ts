// `npm run soak`: four VMs at a time, each updated again and again for an hour, and what must not grow: gaps of the
// guest, downtime, fds and memory of QEMU, files, processes.

import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import type { Updatable } from "../../test/qemu/update-support.ts";
import { assertContiguous } from "../../test/support/serial-log.ts";
import type { Accel } from "../../test/support/vm.ts";
import {
  cprkit,
  leftFiles,
  type Mode,
  machine,
  median,
  qemuOf,
  settled,
  startVm,
  sweep,
  target,
  versionOf,
} from "./vms.ts";

const usage = `npm run soak -- [--minutes 60] [--vms 4] [--accel tcg|kvm] [--output FILE]

Updates VMs without an end, there and back: cpr-transfer 10.0 <-> 11.1, cpr-exec 11.1, cpr-reboot 10.0 <-> 11.1.
Ends with 1 if an update failed, the guest lost a count, or something grew that must not.

Example: npm run soak -- --minutes 5 --vms 2
`;

const modes: readonly Mode[] = ["cpr-transfer", "cpr-exec", "cpr-transfer", "cpr-reboot"];

interface Figures {
  readonly mode: Mode;
  updates: number;
  failed: string[];
  readonly downtimeMs: number[];
  readonly totalMs: number[];
  readonly fds: number[];
  readonly residentKiB: number[];
  maxGapMs: number;
}

export async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      minutes: { type: "string", default: "60" },
      vms: { type: "string", default: "4" },
      accel: { type: "string", default: "tcg" },
      output: { type: "string" },
      help: { type: "boolean" },
    },
  });
  if (values.help === true) {
    process.stdout.write(usage);
    return 0;
  }
  const end = performance.now() + Number(values.minutes) * 60_000;
  process.stdout.write(`${values.vms} VMs for ${values.minutes} min, ${machine()}\n`);
  const jobs = Array.from({ length: Number(values.vms) }, (_, at) => modes[at % modes.length] as Mode);
  const vms = await Promise.all(
    jobs.map((mode) => startVm(mode === "cpr-exec" ? "11.1" : "10.0", values.accel as Accel, mode)),
  );
  const figures = await Promise.all(vms.map((vm, at) => updateUntil(vm, jobs[at] as Mode, end)));
  const pids = vms.flatMap((vm) => vm.qemus());
  const left = await sweep(pids, 5_000);
  const wrong: string[] = left.length > 0 ? [`left behind: ${left.join("; ")}`] : [];
  for (const [at, vm] of vms.entries()) {
    wrong.push(...grown(figures[at] as Figures), ...leftFiles(vm).map((name) => `file left: ${name}`));
    await vm.end();
  }
  const result = {
    machine: machine(),
    minutes: Number(values.minutes),
    vms: figures.map(({ mode, updates, failed, downtimeMs, totalMs, fds, residentKiB, maxGapMs }) => ({
      mode,
      updates,
      failed,
      downtimeMs: { median: median(downtimeMs), max: Math.max(...downtimeMs) },
      totalMs: { median: median(totalMs), max: Math.max(...totalMs) },
      guestGapMs: maxGapMs,
      fds: [fds[0], fds.at(-1)],
      residentKiB: [residentKiB[0], residentKiB.at(-1)],
    })),
    wrong,
  };
  const text = `${JSON.stringify(result, null, 1)}\n`;
  process.stdout.write(text);
  if (values.output !== undefined) writeFileSync(values.output, text);
  return wrong.length === 0 && figures.every(({ failed }) => failed.length === 0) ? 0 : 1;
}

async function updateUntil(vm: Updatable, mode: Mode, end: number): Promise<Figures> {
  const figures: Figures = {
    mode,
    updates: 0,
    failed: [],
    downtimeMs: [],
    totalMs: [],
    fds: [],
    residentKiB: [],
    maxGapMs: 0,
  };
  let told = performance.now();
  while (performance.now() < end) {
    const [pid = 0] = vm.qemus();
    if (pid === 0) {
      figures.failed.push("no QEMU runs the guest");
      break;
    }
    const next = mode === "cpr-exec" || versionOf(pid) === "10.0" ? "11.1" : "10.0";
    const words = ["update", ...target(vm), "--qemu", qemuOf(next), "--mode", mode, "--json"];
    const { code, stdout, stderr } = await cprkit(words).ended;
    if (code !== 0) {
      figures.failed.push(stderr.trim().slice(0, 500));
      if (figures.failed.length > 5) break;
      continue;
    }
    const report = JSON.parse(stdout) as { downtimeMs?: number; totalMs?: number };
    figures.updates += 1;
    if (report.downtimeMs !== undefined) figures.downtimeMs.push(report.downtimeMs);
    if (report.totalMs !== undefined) figures.totalMs.push(report.totalMs);
    const [now = 0] = vm.qemus();
    // The first of a generation pair and the last are compared: a QEMU of one version has as many as another of it.
    if (figures.updates % 2 === 0) {
      figures.fds.push(readdirSync(`/proc/${now}/fd`).length);
      figures.residentKiB.push(Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${now}/status`, "latin1"))?.[1]));
    }
    if (performance.now() - told > 60_000) {
      told = performance.now();
      process.stdout.write(`${mode}: ${figures.updates} updates\n`);
    }
  }
  const { wrong } = await settled(vm, 15_000);
  if (wrong !== undefined) figures.failed.push(wrong);
  else figures.maxGapMs = assertContiguous(vm.serial).maxGapMs;
  return figures;
}

/** More fds or memory than after the first updates is a leak, of cprkit or of QEMU. */
function grown({ mode, fds, residentKiB }: Figures): string[] {
  const [first = 0] = fds;
  const last = fds.at(-1) ?? 0;
  const [resident = 0] = residentKiB;
  const residentEnd = residentKiB.at(-1) ?? 0;
  return [
    ...(last > first + 2 ? [`${mode}: QEMU had ${first} fds at first and ${last} in the end`] : []),
    ...(residentEnd > resident * 1.5 + 20_000
      ? [`${mode}: QEMU had ${resident} KiB at first and ${residentEnd} in the end`]
      : []),
  ];
}
