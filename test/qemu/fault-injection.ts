// Strikes one update with one fault, then checks what must hold after every fault.
import { spawn } from "node:child_process";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import type { UpdateOptions, UpdateProcesses } from "../../src/qemu/update/options.ts";
import { readJournal } from "../../src/qemu/update/record/journal.ts";
import { lockHolder } from "../../src/qemu/update/record/lock.ts";
import { abortUpdate, resumeUpdate } from "../../src/qemu/update/recover.ts";
import { vmStatus } from "../../src/qemu/update/status.ts";
import type { UpdateStep } from "../../src/qemu/update/steps.ts";
import { updateVm } from "../../src/qemu/update/update.ts";
import type { UpdateModeName } from "../../src/qemu/vm/binary.ts";
import { isCprkitError } from "../../src/vmstate/error.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { isListening } from "../support/vm.ts";
import { comesBefore, type Expected, type FaultPoint } from "./fault-points.ts";
import { runStates, type Updatable } from "./update-support.ts";

/** What came of it. */
export interface Struck {
  /** The step was reached, so the fault did strike. */
  readonly struck: boolean;
  /** Message of the error that ended the update; undefined if it went through. */
  readonly message: string | undefined;
}

/** Runs the update with the fault. */
export async function strike(vm: Updatable, point: FaultPoint, options: Partial<UpdateOptions>): Promise<Struck> {
  const { kind, step: at, mode } = point;
  const base = { mode, stateDir: vm.stateDir, timeoutMs: limitMs(vm, point), ...options };
  if (kind === "kill-cprkit, then abort" || kind === "kill-cprkit, then resume")
    return strikeCprkit({ target: { qmp: vm.qmp }, ...base, at });
  const controller = new AbortController();
  let struck = false;
  const onStep = (step: UpdateStep, { source, destination }: UpdateProcesses) => {
    if (kind === "disk-full" && struck) fillJournal(vm);
    if (step !== at) return;
    struck = true;
    switch (kind) {
      case "kill-source":
        process.kill(source, "SIGKILL");
        return;
      case "kill-destination":
        if (destination !== undefined) killQuietly(destination, "SIGKILL");
        return;
      case "hang-destination":
        if (destination !== undefined) killQuietly(destination, "SIGSTOP");
        return;
      case "hang-source":
        killQuietly(source, "SIGSTOP");
        return;
      case "state-disk-full":
        for (const file of stateFiles(vm)) symlinkSync("/dev/full", file);
        return;
      case "state-garbage":
        for (const file of stateFiles(vm)) writeFileSync(file, "this is no state of a VM");
        return;
      case "ctrl-c":
        controller.abort(new Error("Ctrl-C"));
        return;
      case "disk-full":
        fillJournal(vm);
        return;
      case "garbage":
        return sendGarbage(vm, at === "listening" ? "t" : "c");
    }
  };
  try {
    await updateVm({ qmp: vm.qmp }, { ...base, signal: controller.signal, onStep });
    return { struck, message: undefined };
  } catch (error) {
    if (!isCprkitError(error)) throw error;
    return { struck, message: error.message };
  } finally {
    // What this test stopped must not stay stopped for its own end.
    for (const pid of vm.qemus()) killQuietly(pid, "SIGCONT");
    emptyJournal(vm);
  }
}

/**
 * The update's time limit. Only what hangs has to wait until it runs out; there it is as long as this machine, in its present
 * state, needs for a step at the very most, seen by how long it took to start the VM.
 */
export function limitMs({ startMs }: Updatable, { kind }: FaultPoint): number {
  return kind.startsWith("hang") ? Math.round(Math.min(Math.max(4_000, 8 * startMs), longMs)) : longMs;
}

const longMs = 30_000;

/** In a process of its own, from the built code: it kills itself. */
async function strikeCprkit(options: Readonly<Record<string, unknown>>): Promise<Struck> {
  const script = fileURLToPath(new URL("children/update.mjs", import.meta.url));
  const child = spawn(process.execPath, [script, JSON.stringify(options)], { stdio: ["ignore", "ignore", "pipe"] });
  let message = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    message += text;
  });
  const signal = await new Promise<string | null>((resolve) => child.once("close", (_, name) => resolve(name)));
  return { struck: signal === "SIGKILL", message: signal === "SIGKILL" ? "cprkit was killed" : message || undefined };
}

/** Every write of the journal fails from now on: a folder has the name of its draft. */
function fillJournal(vm: Updatable): void {
  for (const folder of foldersOf(vm)) {
    const draft = join(folder, "journal.json.new");
    mkdirSync(draft, { recursive: true });
  }
}

/** Where the journals say that the state of the guest goes. */
function stateFiles(vm: Updatable): string[] {
  return foldersOf(vm).flatMap((folder) => readJournal(folder)?.stateFile ?? []);
}

function emptyJournal(vm: Updatable): void {
  for (const folder of foldersOf(vm)) rmSync(join(folder, "journal.json.new"), { recursive: true, force: true });
}

function foldersOf({ stateDir }: Updatable): string[] {
  return existsSync(stateDir) ? readdirSync(stateDir).map((name) => join(stateDir, name)) : [];
}

async function sendGarbage(vm: Updatable, kind: "t" | "c"): Promise<void> {
  const end = performance.now() + 3_000;
  for (;;) {
    const path = foldersOf(vm)
      .flatMap((folder) => readdirSync(folder).map((name) => join(folder, name, kind)))
      .find(isListening);
    if (path !== undefined) {
      const socket = connect(path);
      socket.on("error", () => socket.destroy());
      socket.end(Buffer.from("this is no CPR state, and there is a lot of it ".repeat(1000)));
      return;
    }
    if (performance.now() > end) throw new Error(`nobody listens on a socket "${kind}"`);
    await sleep(2);
  }
}

/** Where the guest must be after the update and, if cprkit was killed, after `--resume` or `--abort`. */
export function expectedAfter({ kind, step, mode }: FaultPoint): Expected {
  const before = (other: UpdateStep) => comesBefore(mode, step, other);
  switch (kind) {
    case "kill-source":
      if (mode === "cpr-exec") return "lost";
      return before("switching") ? "lost" : before("running") ? "either" : "destination";
    case "kill-destination":
      return before("switching") ? "source" : before("running") ? "either" : "lost";
    case "kill-cprkit, then abort":
      return before("switching")
        ? "source"
        : before("running") && mode !== "cpr-exec"
          ? "either"
          : settledExec(mode, step);
    case "kill-cprkit, then resume":
      return "destination";
    case "ctrl-c":
    case "hang-destination":
      return before("switching") ? "source" : before("running") ? "either" : "destination";
    case "disk-full":
      return before("running") ? "either" : "destination";
    case "garbage":
    case "hang-source":
    case "state-disk-full":
    case "state-garbage":
      return "source";
  }
}

function settledExec(mode: UpdateModeName, step: UpdateStep): Expected {
  return mode === "cpr-exec" && comesBefore(mode, step, "replaced") ? "either" : "destination";
}

/** Checks all that must hold, finishing the update first if it was cut off. Returns where the guest ended up. */
export async function expectSettled(vm: Updatable, point: FaultPoint, { message }: Struck): Promise<Expected> {
  const target = { qmp: vm.qmp };
  const stateDir = vm.stateDir;
  const unfinished = await expectTrueStatus(vm);
  if (unfinished) {
    const finish = point.kind === "kill-cprkit, then resume" ? resumeUpdate : abortUpdate;
    await finish(target, { stateDir, timeoutMs: longMs });
    expect(await expectTrueStatus(vm), "still unfinished").toBe(false);
  } else if (point.kind === "kill-cprkit, then resume" && message !== undefined && vm.qemus().length > 0) {
    // Nothing was written down yet: nothing to resume, so done again.
    const had = comesBefore(point.mode, point.step, "journalled");
    if (had) await updateVm(target, { stateDir, mode: point.mode });
  }
  const states = await runStates(vm);
  if (states.size === 0) {
    expect(message, "it must be said that the guest is lost").toBeDefined();
    expectNothingLeft(vm, true);
    return "lost";
  }
  // The new QEMU was killed when it had begun to run the guest: the old one must not go on from its old state.
  const isOld = [...states].every(([pid, state]) => pid === vm.pid && state === "postmigrate");
  if (isOld && point.kind === "kill-destination" && message?.includes("the guest is lost")) return "lost";
  expect([...states.values()], `exactly one QEMU, and it runs the guest: ${message}`).toEqual(["running"]);
  const before = vm.serial.counts().length;
  await vm.serial.waitForMore(3, 10_000);
  expect(vm.serial.counts().length).toBeGreaterThan(before);
  assertContiguous(vm.serial);
  expectNothingLeft(vm, false);
  const [pid = 0] = states.keys();
  if (point.mode !== "cpr-exec") return pid === vm.pid ? "source" : "destination";
  return readFileSync(`/proc/${pid}/cmdline`, "latin1").includes("-incoming") ? "destination" : "source";
}

/** `status` says what is so: who runs the guest, or that nobody does. Returns whether an update is left unfinished. */
async function expectTrueStatus(vm: Updatable): Promise<boolean> {
  for (let attempt = 0; ; attempt++) {
    const before = await runningPids(vm);
    let status: Awaited<ReturnType<typeof vmStatus>>;
    try {
      status = await vmStatus({ qmp: vm.qmp }, { stateDir: vm.stateDir });
    } catch (error) {
      // No journal and no QEMU: it says that nobody is there.
      expect(vm.qemus(), String(error)).toEqual([]);
      return false;
    }
    // Two QEMUs whose cprkit was killed in the middle finish without it: then what was so a moment ago is no more.
    const after = await runningPids(vm);
    if (String(before) !== String(after) && attempt < 20) continue;
    const said = status.pid === undefined || status.runState !== "running" ? [] : [status.pid];
    expect(said, status.text).toEqual(after);
    if (vm.qemus().length === 0) expect(status.guest, status.text).toBe("nobody");
    return status.update?.outcome === "unfinished";
  }
}

async function runningPids(vm: Updatable): Promise<number[]> {
  return [...(await runStates(vm))].filter(([, state]) => state === "running").map(([pid]) => pid);
}

/**
 * No socket of the hand-over, no state file, no name of a QEMU that is gone; a lock only of a cprkit that is gone. `kept`:
 * what else may be in a state folder.
 */
export function expectNothingLeft(vm: Updatable, lost: boolean, kept = /^$/): void {
  const left = foldersOf(vm).flatMap((folder) => {
    expect(lockHolder(folder)).toBeUndefined();
    return readdirSync(folder);
  });
  const allowed = /^(lock|journal\.json|.*\.log)$/;
  expect(
    left.filter((name) => !allowed.test(name) && !kept.test(name) && !(lost && /^[0-9a-f]{6}$/.test(name))),
  ).toEqual([]);
  for (const name of readdirSync(vm.dir)) {
    const path = join(vm.dir, name);
    if (!lost && lstatSync(path).isSocket()) expect(isListening(path), `${name} is stale`).toBe(true);
  }
}

function killQuietly(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // Gone already.
  }
}
