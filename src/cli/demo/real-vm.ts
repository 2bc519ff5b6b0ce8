// The main job with a real VM: a QEMU runs a tiny guest that counts, the tap carries its fds to a second QEMU, and the
// guest counts on there.

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { accessSync, constants, readFileSync, rmSync, writeFileSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { connectQmp } from "../../qemu/qmp/client.ts";
import { type PassedEntry, tap } from "../../qemu/tap.ts";
import { CprkitError } from "../../vmstate/index.ts";
import { guestFirmware } from "./guest-firmware.ts";

export interface RealVm {
  /** Versions of the old and the new QEMU. */
  readonly from: string;
  readonly to: string;
  readonly fds: readonly PassedEntry[];
  readonly relayMs: number;
  /** The guest's count: the last number in the old QEMU, the first in the new one. */
  readonly lastBefore: number;
  readonly firstAfter: number;
}

export type FoundQemu =
  | { readonly found: true; readonly path: string }
  | { readonly found: false; readonly reason: string };

const program = "qemu-system-x86_64";

/** The QEMU to use: `path`, or the one in PATH. Throws ERR_QEMU_NOT_FOUND if `path` is given and is none, or too old. */
export async function findQemu(path: string | undefined): Promise<FoundQemu> {
  const candidate = path ?? inPath();
  if (candidate === undefined) return { found: false, reason: `there is no ${program} in PATH; name one with --qemu` };
  const version = await versionOf(candidate);
  const old =
    version === undefined
      ? "is no QEMU that runs here"
      : Number.parseInt(version, 10) < 10
        ? `is QEMU ${version}; CPR transfer needs 10.0 or newer`
        : undefined;
  if (old === undefined) return { found: true, path: candidate };
  if (path !== undefined) throw new CprkitError("ERR_QEMU_NOT_FOUND", `${candidate} ${old}`);
  return { found: false, reason: `${candidate} ${old}` };
}

/** Moves a VM from one process of `qemu` to another. Both are ended and their files removed, whatever happens. */
export async function moveRealVm(qemu: string, signal: AbortSignal, onStep: (text: string) => void): Promise<RealVm> {
  const folder = await mkdtemp(join(tmpdir(), "cprkit-vm-"));
  const processes: ChildProcess[] = [];
  const ended = new AbortController();
  const tapSignal = AbortSignal.any([signal, ended.signal]);
  let tapped: ReturnType<typeof listeningTap> | undefined;
  const at = (name: string) => join(folder, name);
  writeFileSync(at("guest.bin"), guestFirmware());
  const start = (name: string, more: readonly string[] = []) => {
    const child = spawn(qemu, [...vmArguments(at("guest.bin"), at(`${name}.serial`), at(`${name}.qmp`)), ...more], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    processes.push(child);
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      if (said.length < maxSaid) said += text;
    });
    child.on("error", (error) => {
      said += error.message;
    });
    return { child, said: () => said.trim() };
  };
  try {
    onStep("starting a VM");
    const source = start("old");
    await counted(at("old.serial"), 20, source, signal);
    const old = await connectQmp(at("old.qmp"), { waitMs: 10_000, signal });
    onStep("starting a second QEMU");
    const unix = (path: string) => ({ transport: "socket", type: "unix", path: at(path) });
    const destination = start("new", [
      "-incoming",
      JSON.stringify({ "channel-type": "main", addr: unix("main.sock") }),
      "-incoming",
      JSON.stringify({ "channel-type": "cpr", addr: unix("cpr.sock") }),
    ]);
    tapped = listeningTap(at("tap.sock"), at("cpr.sock"), tapSignal);
    await Promise.race([tapped.listening, tapped.result]);
    onStep("moving the guest");
    await old.execute("migrate-set-parameters", { mode: "cpr-transfer" });
    await old.execute("migrate", {
      channels: [
        { "channel-type": "main", addr: unix("main.sock") },
        { "channel-type": "cpr", addr: unix("tap.sock") },
      ],
    });
    const passed = await tapped.result;
    const fresh = await connectQmp(at("new.qmp"), { waitMs: 10_000, signal });
    await counted(at("new.serial"), 20, destination, signal);
    const versions = [old, fresh].map(
      ({ greeting: { version } }) => `${version.major}.${version.minor}.${version.micro}`,
    );
    await Promise.all([old.close(), fresh.close()]);
    return {
      from: versions[0] as string,
      to: versions[1] as string,
      fds: passed.fds,
      relayMs: passed.relayMs,
      lastBefore: counts(at("old.serial")).at(-1) as number,
      firstAfter: counts(at("new.serial"))[0] as number,
    };
  } finally {
    // After an error the tap may wait for a QEMU that will never come.
    ended.abort();
    await tapped?.result.catch(() => undefined);
    for (const child of processes) child.kill("SIGKILL");
    await Promise.all(processes.map(exited));
    rmSync(folder, { recursive: true, force: true });
  }
}

function vmArguments(guest: string, serial: string, qmp: string): string[] {
  return [
    ...["-accel", "kvm", "-accel", "tcg", "-machine", "q35,memory-backend=ram0,aux-ram-share=on", "-m", "32"],
    ...["-object", "memory-backend-memfd,id=ram0,size=32M,share=on", "-bios", guest, "-nodefaults", "-display", "none"],
    ...["-serial", `file:${serial}`, "-qmp", `unix:${qmp},server=on,wait=off`],
  ];
}

function listeningTap(listen: string, connect: string, signal: AbortSignal) {
  let listens = () => {};
  const listening = new Promise<void>((resolve) => {
    listens = resolve;
  });
  return { listening, result: tap({ listen, connect, signal, onListening: () => listens() }) };
}

interface Qemu {
  readonly child: ChildProcess;
  /** What it wrote to standard error. */
  readonly said: () => string;
}

/** Characters of a QEMU's own messages that are kept for an error. */
const maxSaid = 4096;

/** Waits until the guest behind `serial` has counted `more` numbers. */
async function counted(serial: string, more: number, { child, said }: Qemu, signal: AbortSignal): Promise<void> {
  const end = performance.now() + 20_000;
  while (counts(serial).length < more) {
    if (isOver(child)) {
      const how = child.signalCode ?? `exit code ${child.exitCode ?? "none"}`;
      throw new CprkitError("ERR_QEMU_EXITED", `QEMU ended with ${how} before its guest counted: ${said()}`);
    }
    if (performance.now() > end) throw new CprkitError("ERR_TIMEOUT", "the guest did not count within 20 s");
    if (signal.aborted) throw new CprkitError("ERR_ABORTED", "moving a real VM was aborted", { cause: signal.reason });
    await delay(20);
  }
}

/** Ended, or never started. */
function isOver({ pid, exitCode, signalCode }: ChildProcess): boolean {
  return pid === undefined || exitCode !== null || signalCode !== null;
}

function counts(serial: string): number[] {
  let text = "";
  try {
    text = readFileSync(serial, "latin1");
  } catch {
    // QEMU has not made it yet.
  }
  return [...text.matchAll(/^T (\d+)\r?\n/gm)].map(([, count]) => Number(count));
}

async function versionOf(qemu: string): Promise<string | undefined> {
  try {
    const { stdout } = await promisify(execFile)(qemu, ["--version"], { timeout: 10_000 });
    return /version (\d+\.\d+\.\d+)/.exec(stdout)?.[1];
  } catch {
    return undefined;
  }
}

function inPath(): string | undefined {
  for (const folder of (process.env["PATH"] ?? "").split(delimiter)) {
    try {
      const path = join(folder, program);
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not here.
    }
  }
  return undefined;
}

function exited(child: ChildProcess): Promise<void> {
  return isOver(child) ? Promise.resolve() : new Promise((resolve) => child.once("exit", () => resolve()));
}
