// What `npm run kills` and `npm run soak` work on: a VM whose processes and files can all be told from others, and the
// command line as a child that can be killed.

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdirSync, readlinkSync, rmSync } from "node:fs";
import { cpus, release } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { startUpdatable, type Updatable } from "../../test/qemu/update-support.ts";
import { cacheDir } from "../../test/support/cache-dir.ts";
import { fillRam } from "../../test/support/slow-migration.ts";
import { type Accel, privateDir } from "../../test/support/vm.ts";
import { type Clock, createClock } from "./clock.ts";

export type Version = "10.0" | "11.1";
export type Mode = "cpr-transfer" | "cpr-exec" | "cpr-reboot";

/** The longest that one command of cprkit may take here; its own waits are all shorter. */
const hangMs = 180_000;

/** In the environment of every process of a VM and of its updates: the VM's folder of `home`. */
export const mark = "CPRKIT_RELIABILITY";

export interface Subject extends Updatable {
  /** A folder for what is not the VM's own: temporary files, the clock. */
  readonly home: string;
  readonly clock: Clock | undefined;
  /** A second monitor, for another client than cprkit. */
  readonly otherQmp: string;
  /** Numbers of the guest that have been checked so far. */
  checked: number;
  maxGapMs: number;
}

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

/** One of them. */
export function pick<T>(values: readonly T[], random: () => number): T {
  return values[Math.floor(random() * values.length)] as T;
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
  /** True when it had to be killed because it did not end by itself. */
  readonly hung: boolean;
}

export interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
}

/** Starts `cprkit` with these words, on this VM. */
export function cprkit(vm: Subject, args: readonly string[]): Running {
  const program = fileURLToPath(new URL("../../bin/cprkit", import.meta.url));
  const start = performance.now();
  const child = spawn(process.execPath, [program, ...args, "--qmp", vm.qmp, "--state-dir", vm.stateDir], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...environmentOf(vm.home, vm.clock) },
  });
  const text = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (data: string) => {
      text[name] += data;
    });
  }
  let hung = false;
  const timer = setTimeout(() => {
    hung = true;
    child.kill("SIGKILL");
  }, hangMs);
  const ended = new Promise<Ended>((done) => {
    child.once("exit", (code, signal) => {
      clearTimeout(timer);
      // Not "close": a QEMU that outlives cprkit may hold its output open.
      setTimeout(() => done({ code, signal, ...text, ms: performance.now() - start, hung }), 20);
    });
  });
  return { child, ended };
}

function environmentOf(home: string, clock: Clock | undefined): Record<string, string> {
  return { [mark]: home, TMPDIR: join(home, "tmp"), ...clock?.env };
}

/** A VM with the counting guest. RAM in a named file where cpr-reboot is to leave it in place. */
export async function startVm(version: Version, accel: Accel, ram: "memfd" | "file"): Promise<Subject> {
  const home = privateDir();
  mkdirSync(join(home, "tmp"));
  const clock = createClock(home);
  const words = Object.entries(environmentOf(home, clock)).map(([name, value]) => `${name}=${value}`);
  const vm = await startUpdatable({
    qemu: qemuOf(version),
    machine: "pc-q35-10.0",
    accel,
    ram,
    prefix: ["/usr/bin/env", ...words],
    extraArgs: (dir) => ["-qmp", `unix:${join(dir, "other.sock")},server=on,wait=off`],
  });
  fillRam(vm.pid);
  const subject: Subject = {
    ...vm,
    home,
    clock,
    otherQmp: join(vm.dir, "other.sock"),
    checked: 0,
    maxGapMs: 0,
    end: async () => {
      await vm.end();
      rmSync(home, { recursive: true, force: true });
    },
  };
  return subject;
}

/** Which version runs the guest: by the program of its process. */
export function versionOf(pid: number): Version {
  const program = readlinkSync(`/proc/${pid}/exe`);
  return program.includes(`${resolve(cacheDir())}/qemu/11.1/`) ? "11.1" : "10.0";
}

/** One line for a record: which machine this was, when, with what. */
export function machine(): string {
  const versions = (["10.0", "11.1"] as const).map(
    (version) =>
      /version (\S+)/.exec(spawnSync(qemuOf(version), ["--version"], { encoding: "utf8" }).stdout)?.[1] ?? version,
  );
  const model = cpus()[0]?.model.trim();
  return `${cpus().length} cores (${model}), Linux ${release()}, Node ${process.version}, QEMU ${versions.join(" and ")}, ${new Date().toISOString()}`;
}

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}
