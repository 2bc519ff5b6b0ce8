// What `npm run kills` and `npm run soak` share: the command line as a child that can be killed, and what must hold of
// a VM whatever was done to it.

import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { cpus } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { runStates, startUpdatable, type Updatable } from "../../test/qemu/update-support.ts";
import { cacheDir } from "../../test/support/cache-dir.ts";
import { assertContiguous } from "../../test/support/serial-log.ts";
import type { Accel } from "../../test/support/vm.ts";

export type Version = "10.0" | "11.1";
export type Mode = "cpr-transfer" | "cpr-exec" | "cpr-reboot";

/** Numbers in [0, 1) that a seed repeats (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The program of a QEMU version, as `npm run qemu` fetched it. */
export function qemuOf(version: Version): string {
  return join(cacheDir(), "qemu", version, "qemu-system-x86_64");
}

interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly ms: number;
}

export interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
}

/** Starts `cprkit` with these words. */
export function cprkit(args: readonly string[]): Running {
  const program = fileURLToPath(new URL("../../bin/cprkit", import.meta.url));
  const start = performance.now();
  const child = spawn(process.execPath, [program, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  const text = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (data: string) => {
      text[name] += data;
    });
  }
  const ended = new Promise<Ended>((done) => {
    child.once("exit", (code, signal) => {
      // Not "close": a QEMU that outlives cprkit may hold its output open.
      setTimeout(() => done({ code, signal, ...text, ms: performance.now() - start }), 20);
    });
  });
  return { child, ended };
}

/** A VM with the counting guest. RAM in a named file where cpr-reboot is to leave it in place. */
export function startVm(version: Version, accel: Accel, mode: Mode): Promise<Updatable> {
  return startUpdatable({
    qemu: qemuOf(version),
    machine: "pc-q35-10.0",
    accel,
    ram: mode === "cpr-reboot" ? "file" : "memfd",
  });
}

/** The words that name a VM and where its update is written down. */
export function target(vm: Updatable): string[] {
  return ["--qmp", vm.qmp, "--state-dir", vm.stateDir];
}

/** Which version runs the guest: by the program of its process. */
export function versionOf(pid: number): Version {
  const program = readlinkSync(`/proc/${pid}/exe`);
  return program.includes(`${resolve(cacheDir())}/qemu/11.1/`) ? "11.1" : "10.0";
}

/**
 * Ends what an update left behind, and gives it: every process of this namespace but this one and `known`. A program
 * that was only asked something may take `timeoutMs` to see that nobody listens any more.
 */
export async function sweep(known: readonly number[], timeoutMs: number): Promise<string[]> {
  const end = performance.now() + timeoutMs;
  let left = strays(known);
  while (left.length > 0 && performance.now() < end) {
    await sleep(50);
    left = strays(known);
  }
  // Told once: the next check is its own.
  for (const line of left) process.kill(Number.parseInt(line, 10), "SIGKILL");
  return left;
}

function strays(known: readonly number[]): string[] {
  return readdirSync("/proc").flatMap((name) => {
    const pid = Number(name);
    if (!Number.isInteger(pid) || pid === process.pid || known.includes(pid)) return [];
    try {
      const state = readFileSync(`/proc/${pid}/stat`, "latin1").replace(/^.*\) /s, "")[0];
      if (state === "Z" || state === "X") return [];
      const words = readFileSync(`/proc/${pid}/cmdline`, "latin1").replaceAll("\0", " ").trim();
      return words === "" || words.includes("esbuild") ? [] : [`${pid} ${words.slice(0, 200)}`];
    } catch {
      return [];
    }
  });
}

/**
 * Waits until the VM is in a state that must hold: one QEMU, which runs the guest, which counts on without a gap. Gives
 * what is wrong, or undefined, and the pid.
 */
export async function settled(
  vm: Updatable,
  timeoutMs: number,
): Promise<{ readonly pid: number; readonly wrong?: string }> {
  const end = performance.now() + timeoutMs;
  let states = await runStates(vm);
  while (!isSingle(states) && performance.now() < end) {
    await sleep(50);
    states = await runStates(vm);
  }
  const [pid = 0] = states.keys();
  if (!isSingle(states)) return { pid, wrong: `QEMUs: ${JSON.stringify([...states])}` };
  try {
    await vm.serial.waitForMore(3, 10_000);
    assertContiguous(vm.serial);
  } catch (error) {
    return { pid, wrong: String(error) };
  }
  return { pid };
}

function isSingle(states: ReadonlyMap<number, string>): boolean {
  return states.size === 1 && [...states.values()][0] === "running";
}

/** What lies in the VM's state folders beside the journal: files of an update that is over. */
export function leftFiles(vm: Updatable): string[] {
  if (!existsSync(vm.stateDir)) return [];
  const all = readdirSync(vm.stateDir, { recursive: true, withFileTypes: true });
  return all.flatMap((entry) =>
    entry.isDirectory() || /^(journal\.json|lock|.*\.log)$/.test(entry.name) ? [] : [entry.name],
  );
}

/** One line for a record: which machine this was. */
export function machine(): string {
  return `${cpus().length} cores (${cpus()[0]?.model.trim()}), Node ${process.version}, ${new Date().toISOString().slice(0, 10)}`;
}

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}
