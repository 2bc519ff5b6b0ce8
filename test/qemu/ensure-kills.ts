// `cprkit ensure` is killed at one place of an update and asked again: the guest was updated once and lost nothing, the
// answer is that of one update, and nothing is left behind.
import { execFile, spawnSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect } from "vitest";
import { unwritten } from "../../src/qemu/update/run.ts";
import { type UpdateStep, updateSteps } from "../../src/qemu/update/steps.ts";
import type { UpdateModeName } from "../../src/qemu/vm/binary.ts";
import { repoRoot } from "../support/cli.ts";
import { type QemuPaths, usableAccel } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { type Counted, copyOf, counted } from "./ensure-support.ts";
import { expectNothingLeft } from "./fault-injection.ts";
import { runStates, startUpdatable, type Updatable } from "./update-support.ts";

/** Where it is killed: see children/kill-at.mjs. */
export interface Kill {
  readonly step: UpdateStep | "answer";
  readonly when: "before" | "after" | "reached";
}

const kill = (step: Kill["step"], ...whens: Kill["when"][]): Kill[] => whens.map((when) => ({ step, when }));

/** All places of a mode. */
export function killsOf(mode: UpdateModeName): Kill[] {
  const steps = updateSteps[mode].flatMap((step) =>
    unwritten.has(step) ? kill(step, "reached") : kill(step, "before", "after"),
  );
  return [...steps, ...kill("answer", "before", "after")];
}

/** Places at which who takes an update to its end is killed, after the first one was killed when the guest had stopped. */
export const killsInRecovery: readonly Kill[] = [
  ...kill("running", "before", "after"),
  ...kill("names-handed-over", "before", "after"),
  ...kill("answer", "before"),
];

/** What `cprkit ensure --json` has said. */
interface Said {
  readonly signal: NodeJS.Signals | null;
  readonly code: number | null;
  readonly stderr: string;
  // biome-ignore lint/suspicious/noExplicitAny: it is compared with what is expected
  readonly answer: any;
}

const commandOf = (vm: Updatable, qemu: string, words: readonly string[]) => [
  ...[join(repoRoot, "bin/cprkit"), "ensure", "--qmp", vm.qmp, "--qemu", qemu, "--state-dir", vm.stateDir, "--json"],
  ...words,
];

/** Runs the command beside others of its kind, to its end. @throws what execFile throws when it does not exit with 0 */
export async function ensureBeside(vm: Updatable, qemu: string, words: readonly string[]): Promise<Said["answer"]> {
  const { stdout } = await promisify(execFile)(process.execPath, commandOf(vm, qemu, words), { timeout: 120_000 });
  return JSON.parse(stdout);
}

/** Runs the command, killed at one place or not. */
export function ensure(vm: Updatable, qemu: string, words: readonly string[], at?: Kill): Said {
  const preload = fileURLToPath(new URL("children/kill-at.mjs", import.meta.url));
  const node = at === undefined ? [] : ["--import", preload];
  const { signal, status, stdout, stderr } = spawnSync(process.execPath, [...node, ...commandOf(vm, qemu, words)], {
    encoding: "utf8",
    env: { ...process.env, ...(at === undefined ? {} : { CPRKIT_TEST_KILL: JSON.stringify(at) }) },
  });
  return { signal, code: status, stderr, answer: signal === null && stdout !== "" ? JSON.parse(stdout) : undefined };
}

/** A VM that can be updated in this mode, and the QEMU that it shall run in: another version, or another build. */
export async function startFor(mode: UpdateModeName, qemu: QemuPaths<"10.0" | "11.1">) {
  const isExec = mode === "cpr-exec";
  const from = isExec ? qemu["11.1"] : qemu["10.0"];
  const ram = mode === "copy" ? "plain" : mode === "cpr-reboot" ? "file" : "memfd";
  const vm = await startUpdatable({ qemu: from, machine: "pc-q35-10.0", accel: await usableAccel(from), ram });
  return { vm, wanted: counted(isExec ? copyOf(qemu["11.1"], { rebuilt: true }) : qemu["11.1"]) };
}

/** Kills it at each place in turn, then asks again without, and checks all that must hold. */
export async function expectOnce(mode: UpdateModeName, vm: Updatable, wanted: Counted, kills: readonly Kill[]) {
  const words = ["--mode", mode, "--key", "request 1"];
  for (const at of kills) {
    const killed = ensure(vm, wanted.program, words, at);
    expect(killed, `it was not killed ${at.when} "${at.step}"`).toMatchObject({ signal: "SIGKILL" });
  }
  const { answer, code, stderr } = ensure(vm, wanted.program, words);
  expect({ code, stderr, answer }).toMatchObject({ code: 0, answer: { result: "updated" } });
  const report = answer.report ?? answer.fromJournal;
  // From the QEMU that was there first to the one that is there now: no other was between them.
  expect(report).toMatchObject({ mode, sourcePid: vm.pid, pid: answer.pid });
  // The same again, whatever was done meanwhile.
  expect(ensure(vm, wanted.program, ["--mode", mode, "--key", "request 2"]).answer).toMatchObject({
    result: "nothing-to-do",
    pid: answer.pid,
    repeated: false,
  });
  const again = ensure(vm, wanted.program, words).answer;
  const { recovered: _, ...rest } = answer;
  expect(again).toMatchObject({ ...rest, repeated: true });

  expect([...(await runStates(vm))]).toEqual([[answer.pid, "running"]]);
  expectOneGeneration(mode, vm, wanted, answer, kills.length > 1);
  const before = vm.serial.counts().length;
  await vm.serial.waitForMore(5, 20_000);
  expect(vm.serial.counts().length).toBeGreaterThan(before);
  assertContiguous(vm.serial);
  expectNothingLeft(vm, false, /^(ensure|key-[0-9a-f]{32})$/);
  return answer;
}

function expectOneGeneration(
  mode: UpdateModeName,
  vm: Updatable,
  wanted: Counted,
  answer: Said["answer"],
  wasAgain: boolean,
): void {
  if (mode === "cpr-exec") {
    expect(answer.pid).toBe(vm.pid);
    expect(wanted.replaced()).toBe(1);
  } else {
    expect(answer.pid).not.toBe(vm.pid);
    // Once more than one only if an earlier one was taken back, perhaps by a call that was killed, too.
    expect(wanted.starts()).toBeLessThanOrEqual(wasAgain || answer.recovered === "rolled-back" ? 2 : 1);
  }
}
