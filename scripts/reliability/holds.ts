// What must hold of a VM after each round, whatever was done to it.

import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { runStates } from "../../test/qemu/update-support.ts";
import { cprkit, mark, type Subject } from "./vms.ts";

/** What a process has open, by kind: how many of each. */
export type Open = ReadonlyMap<string, number>;

export interface Verdict {
  /** Of the QEMU that runs the guest; 0 if none does. */
  readonly pid: number;
  /** What it has open. */
  readonly open: Open;
  /** What does not hold. */
  readonly wrong: readonly string[];
}

/**
 * Checks a VM whose guest must run: one QEMU has it; the guest has counted on, each number once; nothing of an update
 * is left, no process and no file, and no fd beyond `most`; `cprkit status` says all that.
 */
export async function verdictOf(vm: Subject, most: (pid: number) => Open | undefined): Promise<Verdict> {
  const states = await oneQemu(vm, 20_000);
  const [pid = 0] = states.keys();
  if (states.size !== 1 || states.get(pid) !== "running") {
    return { pid: 0, open: new Map(), wrong: [`QEMUs: ${JSON.stringify([...states])}`] };
  }
  const [processes, files, { open, wrong: fds }] = await Promise.all([
    processesLeft(vm, [pid], 10_000),
    filesLeft(vm),
    fdsLeft(pid, most(pid), 5_000),
  ]);
  const wrong = [...(await countsOn(vm)), ...processes, ...files, ...fds, ...(await falseStatus(vm, pid))];
  return { pid, open, wrong };
}

/**
 * Checks that `cprkit status` says that nobody runs the guest, and that nothing is left that could. What a killed cprkit
 * was asking stays until the next one asks: of a VM that is gone nobody does.
 */
export async function verdictOfLost(vm: Subject): Promise<readonly string[]> {
  const { code, stdout, stderr } = await cprkit(vm, ["status", "--json"]).ended;
  // Without a journal there is nobody to ask: it says that no monitor answers.
  const said = stdout === "" ? { guest: "nobody", pid: undefined } : statusIn(stdout);
  const isTrue = said?.guest === "nobody" && said.pid === undefined && (code === 1 || code === 4 || code === 0);
  return [
    ...(isTrue ? [] : [`the guest is gone, and status says (code ${code}): ${stdout}${stderr}`]),
    ...(await processesLeft(vm, [], 10_000)).filter((text) => !text.includes(" -machine none ")),
  ];
}

async function oneQemu(vm: Subject, timeoutMs: number): Promise<ReadonlyMap<number, string>> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    const states = await runStates(vm);
    if ((states.size === 1 && [...states.values()][0] === "running") || performance.now() > end) return states;
    await sleep(50);
  }
}

async function countsOn(vm: Subject): Promise<string[]> {
  try {
    await vm.serial.waitForMore(3, 15_000);
    const counts = vm.serial.counts().slice(Math.max(0, vm.checked - 1));
    vm.checked += counts.length - (vm.checked === 0 ? 0 : 1);
    const wrong: string[] = [];
    for (const [at, count] of counts.entries()) {
      const before = counts[at - 1];
      if (before === undefined) continue;
      if (count.value !== before.value + 1) wrong.push(`the guest went from ${before.value} to ${count.value}`);
      vm.maxGapMs = Math.max(vm.maxGapMs, count.at - before.at);
    }
    return wrong;
  } catch (error) {
    return [String(error)];
  }
}

/**
 * Ends what an update left running, and names it: every process with the VM's mark but `known`. A program that was
 * only asked something may take `timeoutMs` to see that nobody listens any more.
 */
async function processesLeft(vm: Subject, known: readonly number[], timeoutMs: number): Promise<string[]> {
  const end = performance.now() + timeoutMs;
  let left = marked(vm, known);
  while (left.size > 0 && performance.now() < end) {
    await sleep(50);
    left = marked(vm, known);
  }
  // Each is told once: the next round has its own.
  for (const pid of left.keys()) process.kill(pid, "SIGKILL");
  return [...left].map(([pid, words]) => `left behind: process ${pid}, ${words}`);
}

function marked(vm: Subject, known: readonly number[]): Map<number, string> {
  const found = new Map<number, string>();
  for (const name of readdirSync("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid || known.includes(pid)) continue;
    try {
      if (!readFileSync(`/proc/${pid}/environ`, "latin1").split("\0").includes(`${mark}=${vm.home}`)) continue;
      const words = readFileSync(`/proc/${pid}/cmdline`, "latin1").replaceAll("\0", " ").trim();
      // A zombie has none.
      if (words !== "") found.set(pid, words.slice(0, 300));
    } catch {
      // It has ended.
    }
  }
  return found;
}

/** Every process of this namespace but this one and `known`: for the end, when no VM is left. */
export function everyOther(known: readonly number[]): string[] {
  return readdirSync("/proc").flatMap((name) => {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid || known.includes(pid)) return [];
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, "latin1").replaceAll("\0", " ").trim();
      return words === "" || words.includes("esbuild") ? [] : [`left behind: process ${pid}, ${words.slice(0, 300)}`];
    } catch {
      return [];
    }
  });
}

/**
 * What belongs into a VM's folder: what it was started with, its sockets, its journal and the last five logs. A cprkit
 * that was killed can't remove its two locks, of the VM and of the process: the next update takes them over.
 */
const ownFiles = /^(guest\.(rom|img)|output|ram|serial\.sock|(qmp|other)\.sock(\.cpr\d+)?|journal\.json|lock)$/;

function filesLeft(vm: Subject): string[] {
  const all = [vm.dir, `${vm.home}/tmp`].flatMap((folder) =>
    readdirSync(folder, { recursive: true, withFileTypes: true }),
  );
  const files = all.filter((entry) => !entry.isDirectory()).map(({ name }) => name);
  const generations = files.filter((name) => /^qmp\.sock\.cpr\d+$/.test(name));
  const logs = files.filter((name) => name.endsWith(".log"));
  const locks = files.filter((name) => name === "lock");
  return [
    ...files
      .filter((name) => !ownFiles.test(name) && !name.endsWith(".log"))
      .map((name) => `left behind: file ${name}`),
    ...(generations.length > 1 ? [`left behind: sockets ${generations.join(", ")}`] : []),
    ...(logs.length > 5 ? [`left behind: ${logs.length} logs`] : []),
    ...(locks.length > 2 ? [`left behind: ${locks.length} locks`] : []),
  ];
}

/** A monitor's client that has just gone is still being closed: that may take `timeoutMs`. */
async function fdsLeft(
  pid: number,
  most: Open | undefined,
  timeoutMs: number,
): Promise<{ readonly open: Open; readonly wrong: string[] }> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    const open = openBy(pid);
    const wrong =
      most === undefined
        ? []
        : [...open].flatMap(([kind, count]) => {
            const before = most.get(kind) ?? 0;
            return count > before ? [`QEMU has ${count} fds of ${kind}, and had ${before}`] : [];
          });
    if (wrong.length === 0 || performance.now() > end) return { open, wrong };
    await sleep(50);
  }
}

function openBy(pid: number): Open {
  const open = new Map<string, number>();
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    try {
      // Of a socket its kind, of a file its name: folders and logs are new each time.
      const kind = readlinkSync(`/proc/${pid}/fd/${fd}`)
        .replace(/:\[\d+\]$/, "")
        .replace(/^\/.*\/(output|[^/]*\.log)( \(deleted\))?$/, "log")
        .replace(/^\/.*\//, "");
      open.set(kind, (open.get(kind) ?? 0) + 1);
    } catch {
      // Closed since.
    }
  }
  return open;
}

/** The resident memory of a process in KiB. */
export function residentKiB(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1]);
}

async function falseStatus(vm: Subject, pid: number): Promise<string[]> {
  const { code, stdout, stderr } = await cprkit(vm, ["status", "--json"]).ended;
  const said = statusIn(stdout);
  const isTrue =
    code === 0 &&
    said?.pid === pid &&
    said.runState === "running" &&
    (said.guest === "source" || said.guest === "destination") &&
    said.update?.outcome !== "unfinished";
  return isTrue ? [] : [`process ${pid} runs the guest, and status says (code ${code}): ${stdout}${stderr}`];
}

interface Said {
  readonly guest?: string;
  readonly pid?: number;
  readonly runState?: string;
  readonly update?: { readonly outcome?: string };
}

function statusIn(text: string): Said | undefined {
  try {
    return JSON.parse(text) as Said;
  } catch {
    return undefined;
  }
}
