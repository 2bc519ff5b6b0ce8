// For the tests of preflight: real QEMUs with just what a test is about, and the check that a look changes nothing.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { expect } from "vitest";
import type { Finding, FindingCode } from "../../src/qemu/finding.ts";
import { connectQmp, type Qmp } from "../../src/qemu/index.ts";
import { type PreflightOptions, type PreflightReport, preflight } from "../../src/qemu/preflight/preflight.ts";
import { expectNoFdLeak } from "../support/fds.ts";
import { privateDir } from "../support/vm.ts";

/** A QEMU of its own, without a guest. */
export interface TestVm {
  readonly pid: number;
  readonly dir: string;
  readonly qmpPath: string;
  /** Runs commands on its monitor, which is free again after. */
  ask<T>(work: (qmp: Qmp) => Promise<T>): Promise<T>;
}

export interface TestVmOptions {
  readonly qemu: string;
  /** The machine with its properties; by default one that CPR can update. */
  readonly machine?: string;
  readonly memory?: readonly string[];
  readonly args?: readonly string[] | ((dir: string) => readonly string[]);
  readonly dir?: string;
  /** User to run as; only root may ask for another one. */
  readonly uid?: number;
}

const goodMachine = "pc-q35-10.0,aux-ram-share=on,memory-backend=ram0";
const goodMemory = ["-m", "32", "-object", "memory-backend-memfd,id=ram0,size=32M,share=on"];

/** Starts a QEMU, runs `body`, ends it. */
export async function withVm(options: TestVmOptions, body: (vm: TestVm) => Promise<void>): Promise<void> {
  const { qemu, machine = goodMachine, memory = goodMemory, args = [], dir = privateDir(), uid } = options;
  const qmpPath = join(dir, "q.sock");
  const words = [
    ["-machine", `${machine},accel=tcg`, ...memory],
    ["-nodefaults", "-no-user-config", "-display", "none", "-qmp", `unix:${qmpPath},server=on,wait=off`],
    typeof args === "function" ? args(dir) : args,
  ].flat();
  const child = spawn(qemu, words, {
    stdio: ["ignore", "ignore", "pipe", "pipe"],
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
  let said = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  const exit = once(child, "exit");
  const dead = new AbortController();
  child.once("exit", () => dead.abort(new Error(said)));
  try {
    const ask: TestVm["ask"] = async (work) => {
      const qmp = await connectQmp(qmpPath, { waitMs: 20_000, signal: dead.signal });
      try {
        return await work(qmp);
      } finally {
        await qmp.close();
      }
    };
    await ask((qmp) => qmp.execute("query-status")).catch((error: unknown) => {
      throw new Error(`QEMU did not start: ${said}`, { cause: error });
    });
    await body({ pid: child.pid ?? 0, dir, qmpPath, ask });
  } finally {
    child.kill("SIGKILL");
    await exit;
  }
}

/** The findings of a report by their codes, in order; a code that comes several times is listed as often. */
export type Found = readonly FindingCode[];

/** Runs a preflight; checks that it leaves the VM and this process as they were, and that each finding is whole. */
export async function look(vm: TestVm, options: PreflightOptions = {}): Promise<PreflightReport> {
  const state = () =>
    vm.ask(async (qmp) => ({
      mode: (await qmp.execute("query-migrate-parameters")).mode,
      status: await qmp.execute("query-status"),
      migration: (await qmp.execute("query-migrate")).status,
    }));
  const before = await state();
  const report = await expectNoFdLeak(() =>
    preflight({ pid: vm.pid }, { timeoutMs: 10_000, mode: "cpr-transfer", ...options }),
  );
  expect(await state()).toEqual(before);
  for (const finding of report.findings) {
    expect(finding.message).not.toBe("");
    expect(finding.remedy).not.toBe("");
  }
  expect(report.ok).toBe(!report.findings.some(({ severity }) => severity === "blocker"));
  return report;
}

export function codes({ findings }: PreflightReport): Found {
  return findings.map(({ code }) => code);
}

/** The one finding with this code. */
export function finding({ findings }: PreflightReport, code: FindingCode): Finding {
  const found = findings.filter((each) => each.code === code);
  if (found.length === 1 && found[0] !== undefined) return found[0];
  throw new Error(`expected one ${code}, found ${findings.map((each) => each.code).join(", ") || "nothing"}`);
}
