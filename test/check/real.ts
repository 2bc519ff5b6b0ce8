// Saves machines with real QEMU and loads what they saved into others: what a check's answer is measured by.
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connectQmp, type Qmp } from "../../src/qemu/qmp/client.ts";
import { negotiate } from "./negotiate.ts";
import type { Machine } from "./pairs.ts";

/** What came of a load. */
export interface Load {
  readonly loads: boolean;
  /** QEMU's words, without its name in front, if it does not load. */
  readonly error: string;
}

/** Path of the QEMU program of a version. */
export type QemuOf = (version: string) => string;

/**
 * Runs the machine until its firmware has finished, and writes its stream to `file`. `ask` is called just before. Throws
 * with what QEMU said.
 */
export async function saveMachine(
  machine: Machine,
  qemuOf: QemuOf,
  dir: string,
  file: string,
  ask?: (qmp: Qmp) => Promise<void>,
): Promise<void> {
  const log = join(dir, "firmware.log");
  rmSync(log, { force: true });
  const debug = ["-chardev", `file,id=firmware,path=${log}`, "-device", "isa-debugcon,iobase=0x402,chardev=firmware"];
  const boots = !machine.args.includes("microvm");
  const qtest = join(dir, "qtest.sock");
  const more = machine.negotiate ? ["-qtest", `unix:${qtest},server=on,wait=off`, "-qtest-log", "/dev/null"] : [];
  await withQemu([...machine.args, ...(boots ? debug : []), ...more], qemuOf(machine.qemu), dir, async (qmp) => {
    if (boots) await until(() => existsSync(log) && /No bootable device|Retrying in/.test(readFileSync(log, "latin1")));
    await qmp.execute("stop");
    if (machine.negotiate) await negotiate(qmp, qtest);
    await ask?.(qmp);
    if (machine.args.includes("-uuid"))
      await qmp.execute("migrate-set-capabilities", { capabilities: [{ capability: "validate-uuid", state: true }] });
    await qmp.execute("migrate", { uri: `exec:cat >${file}` });
    await until(async () => (await statusOf(qmp)) === "completed");
    await qmp.execute("quit").catch(() => {});
  });
}

/** Starts the machine as a destination and loads `file`. */
export async function loadMachine(machine: Machine, qemuOf: QemuOf, dir: string, file: string): Promise<Load> {
  let said = "";
  try {
    const args = [...machine.args, "-S", "-incoming", "defer"];
    said = await withQemu(args, qemuOf(machine.qemu), dir, async (qmp) => {
      await qmp.execute("migrate-incoming", { uri: `exec:cat ${file}` });
      await until(async () => {
        const status = await statusOf(qmp);
        if (status === "failed") throw new Error("failed");
        return status === "completed";
      });
      await qmp.execute("quit").catch(() => {});
    });
    return { loads: true, error: "" };
  } catch (error) {
    said = error instanceof Error ? error.message : String(error);
    return { loads: false, error: firstError(said) };
  }
}

function firstError(said: string): string {
  const lines = said
    .split("\n")
    .map((line) => line.replace(/^.*?qemu-system-\w+: /, ""))
    .filter((line) => line !== "" && !/^warning:|terminating on signal|has no peer/.test(line));
  return lines.slice(0, 3).join(" | ").slice(0, 300);
}

async function statusOf(qmp: Qmp): Promise<string | undefined> {
  return ((await qmp.execute("query-migrate")) as { readonly status?: string }).status;
}

async function until(done: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + 40_000;
  while (!(await done())) {
    if (Date.now() > end) throw new Error("QEMU did not come to it in time");
    await sleep(30);
  }
}

/** Throws with all that QEMU wrote if `work` fails or QEMU exits before its end. */
async function withQemu(
  args: readonly string[],
  qemu: string,
  dir: string,
  work: (qmp: Qmp) => Promise<void>,
): Promise<string> {
  const path = join(dir, "qmp.sock");
  const out = join(dir, "qemu.log");
  rmSync(path, { force: true });
  const fd = openSync(out, "w");
  const common = ["-nodefaults", "-display", "none", "-accel", "tcg", "-qmp", `unix:${path},server=on,wait=off`];
  const child = spawn(qemu, [...common, ...args], { stdio: ["ignore", fd, fd] });
  closeSync(fd);
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const gone = exited.then(() => Promise.reject(new Error("QEMU exited")));
  gone.catch(() => {});
  let qmp: Qmp | undefined;
  try {
    qmp = await Promise.race([connectQmp(path, { waitMs: 20_000 }), gone]);
    await work(qmp);
  } catch (error) {
    await endOf(child, exited);
    const said = readFileSync(out, "utf8");
    throw firstError(said) === "" ? error : new Error(said);
  } finally {
    qmp?.close();
    await endOf(child, exited);
  }
  return readFileSync(out, "utf8");
}

async function endOf(child: ChildProcess, exited: Promise<void>): Promise<void> {
  await Promise.race([exited, sleep(2000)]);
  if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
  await exited;
}
