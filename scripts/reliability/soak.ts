// `npm run soak`: four VMs at a time, each updated again and again for an hour. After each update all that must hold
// is checked (holds.ts), and nothing may grow: fds and memory of QEMU, files, processes.

import { writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { Accel } from "../../test/support/vm.ts";
import { everyOther, type Open, residentKiB, verdictOf } from "./holds.ts";
import {
  cprkit,
  type Mode,
  machine,
  median,
  pick,
  qemuOf,
  randomFrom,
  type Subject,
  startVm,
  type Version,
  versionOf,
} from "./vms.ts";

const usage = `npm run soak -- [--minutes 60] [--vms 4] [--seed N] [--accel tcg|kvm] [--output FILE]

Updates VMs without an end: the first by cpr-transfer between 10.0 and 11.1, the second by cpr-exec with 11.1, the third
by cpr-reboot between the two, the fourth by all of them in random order; then again from the first kind. Ends with 1 if
an update failed, the guest lost or repeated a number, status said what is not so, or something was left or grew.
  --minutes N  how long (default 60)
  --vms N      how many at a time (default 4)
  --seed N     the same seed gives each VM the same updates and pauses (default: the clock)
  --output F   also write the result as JSON, anew every minute

Example: npm run soak -- --minutes 5 --vms 2
`;

/** What the VMs do, by turns. */
const kinds = ["cpr-transfer", "cpr-exec", "cpr-reboot", "mixed"] as const;
type Kind = (typeof kinds)[number];

/** The longest pause between two updates. */
const pauseMs = 2_000;

/** A VM with so many faults is left alone: what comes after them tells nothing more. */
const maxFaults = 5;

interface Figures {
  readonly kind: Kind;
  updates: number;
  readonly faults: string[];
  readonly downtimeMs: number[];
  readonly totalMs: number[];
  /** After each update to the version that the VM started with. */
  readonly fds: number[];
  readonly residentKiB: number[];
  gapMs: number;
  readonly open: Map<Version, Open>;
}

export async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      minutes: { type: "string", default: "60" },
      vms: { type: "string", default: "4" },
      seed: { type: "string", default: String(Date.now() % 1e9) },
      accel: { type: "string", default: "tcg" },
      output: { type: "string" },
      help: { type: "boolean" },
    },
  });
  if (values.help === true) {
    process.stdout.write(usage);
    return 0;
  }
  const minutes = Number(values.minutes);
  const seed = Number(values.seed);
  const where = machine();
  process.stdout.write(`${values.vms} VMs for ${minutes} min, seed ${seed}, ${where}\n`);
  const all = Array.from({ length: Number(values.vms) }, (_, at) => newFigures(kinds[at % kinds.length] as Kind));
  const vms = await Promise.all(
    all.map(({ kind }) => startVm(startOf(kind), values.accel as Accel, kind === "cpr-reboot" ? "file" : "memfd")),
  );
  const start = performance.now();
  const left: string[] = [];
  const tell = () => {
    const result = {
      machine: where,
      seed,
      minutes: Math.round((performance.now() - start) / 6_000) / 10,
      vms: all.map(summary),
      left,
    };
    if (values.output !== undefined) writeFileSync(values.output, `${JSON.stringify(result, null, 1)}\n`);
    return result;
  };
  const timer = setInterval(() => {
    const { minutes: spent } = tell();
    process.stdout.write(`${spent} min: ${all.map(({ kind, updates }) => `${kind} ${updates}`).join(", ")}\n`);
  }, 60_000);
  const end = start + minutes * 60_000;
  await Promise.all(vms.map((vm, at) => updateUntil(vm, all[at] as Figures, randomFrom(seed + at), end)));
  clearInterval(timer);
  for (const figures of all) figures.faults.push(...grown(figures));
  await Promise.all(vms.map((vm) => vm.end()));
  left.push(...everyOther([]));
  process.stdout.write(`${JSON.stringify(tell(), null, 1)}\n`);
  return left.length === 0 && all.every(({ faults }) => faults.length === 0) ? 0 : 1;
}

function newFigures(kind: Kind): Figures {
  return {
    kind,
    updates: 0,
    faults: [],
    downtimeMs: [],
    totalMs: [],
    fds: [],
    residentKiB: [],
    gapMs: 0,
    open: new Map(),
  };
}

function startOf(kind: Kind): Version {
  return kind === "cpr-exec" ? "11.1" : "10.0";
}

/** What comes next: of "mixed", any mode that the QEMUs at hand have. */
function nextOf(kind: Kind, from: Version, random: () => number): { readonly mode: Mode; readonly to: Version } {
  const other = from === "10.0" ? "11.1" : "10.0";
  // Drawn in any case, so that each kind's numbers are those of its rounds.
  const drawn = pick(from === "11.1" ? modes : modes.slice(1), random);
  const mode = kind === "mixed" ? drawn : kind;
  return { mode, to: mode === "cpr-exec" ? "11.1" : other };
}

const modes: readonly Mode[] = ["cpr-exec", "cpr-transfer", "cpr-reboot"];

async function updateUntil(vm: Subject, figures: Figures, random: () => number, end: number): Promise<void> {
  const { kind, faults } = figures;
  while (performance.now() < end && faults.length < maxFaults) {
    const [pid = 0] = vm.qemus();
    if (pid === 0) {
      faults.push("no QEMU runs the guest");
      return;
    }
    const { mode, to } = nextOf(kind, versionOf(pid), random);
    const pause = random() * pauseMs;
    const words = ["update", "--qemu", qemuOf(to), "--mode", mode, "--json"];
    const { code, stdout, stderr, hung } = await cprkit(vm, words).ended;
    // What a QEMU of "mixed" has open depends on the modes before it: there only the end is compared.
    const verdict = await verdictOf(vm, (now) => (kind === "mixed" ? undefined : figures.open.get(versionOf(now))));
    figures.gapMs = vm.maxGapMs;
    const name = `update ${figures.updates + 1}, ${mode} to ${to}`;
    faults.push(...verdict.wrong.map((text) => `${name}: ${text}`));
    if (code === 0) note(figures, JSON.parse(stdout) as Report, verdict.pid, verdict.open, to);
    else faults.push(`${name}: ${hung ? "hung" : `code ${code}`}: ${stderr.trim().slice(0, 1_000)}`);
    await sleep(pause);
  }
}

interface Report {
  readonly downtimeMs?: number;
  readonly totalMs: number;
}

function note(figures: Figures, { downtimeMs, totalMs }: Report, pid: number, open: Open, to: Version): void {
  figures.updates += 1;
  if (downtimeMs !== undefined) figures.downtimeMs.push(downtimeMs);
  figures.totalMs.push(totalMs);
  // Of the first two generations each has what its options, of later ones what their parents gave them.
  if (figures.updates > 4 && !figures.open.has(to)) figures.open.set(to, open);
  if (to !== startOf(figures.kind) || pid === 0) return;
  figures.fds.push([...open.values()].reduce((sum, count) => sum + count, 0));
  figures.residentKiB.push(residentKiB(pid));
}

/** More memory or fds than after the first updates is a leak, of cprkit or of QEMU. */
function grown({ residentKiB: resident, fds }: Figures): string[] {
  const [first = 0] = resident;
  const last = resident.at(-1) ?? 0;
  const most = Math.max(...fds.slice(0, 10));
  const fdsLast = fds.at(-1) ?? 0;
  return [
    ...(last > first * 1.5 + 20_000 ? [`QEMU had ${first} KiB at first and ${last} in the end`] : []),
    ...(fdsLast > most ? [`QEMU had at most ${most} fds in the first ten rounds and ${fdsLast} in the end`] : []),
  ];
}

function summary({ kind, updates, faults, downtimeMs, totalMs, fds, residentKiB: resident, gapMs }: Figures) {
  return {
    kind,
    updates,
    faults,
    downtimeMs: { median: median(downtimeMs), max: Math.max(...downtimeMs) },
    totalMs: { median: median(totalMs), max: Math.max(...totalMs) },
    gapMs,
    fds: { first: fds[0], last: fds.at(-1) },
    residentKiB: { first: resident[0], last: resident.at(-1) },
  };
}
