// What is done to an update at a random time: who is killed, who is stopped, what else happens then.

import { setTimeout as sleep } from "node:timers/promises";
import { connectQmp, type Qmp } from "../../src/qemu/qmp/client.ts";
import type { Running, Subject } from "./vms.ts";

export const victims = [
  "cprkit",
  "cprkit and new QEMU",
  "cprkit and old QEMU",
  "new QEMU",
  "old QEMU",
  "cprkit stopped",
  "new QEMU stopped",
  "old QEMU stopped",
  "clock jumps",
  "another migration",
] as const;
export type Victim = (typeof victims)[number];

/** The guest may only be lost with the QEMU that runs it. */
export const mayLose: ReadonlySet<Victim> = new Set([
  "cprkit and new QEMU",
  "cprkit and old QEMU",
  "new QEMU",
  "old QEMU",
]);

export interface Blow {
  /** What was seen that must not be. */
  readonly wrong: readonly string[];
  /** How long cprkit went on after a QEMU was stopped. */
  readonly waitedMs?: number;
}

export interface Target {
  readonly vm: Subject;
  /** The QEMU that had the guest when the update began. */
  readonly source: number;
  readonly begin: () => Running;
  readonly afterMs: number;
  /** Where the clock jumps to. */
  readonly jumpSeconds: number;
}

/** Begins the update, strikes, and waits until the update has ended. */
export async function strike(
  victim: Victim,
  target: Target,
): Promise<{ readonly running: Running; readonly blow: Blow }> {
  if (victim === "another migration") return withMigration(target);
  const { vm, source, afterMs } = target;
  const running = target.begin();
  await sleep(afterMs);
  const others = vm.qemus().filter((pid) => pid !== source);
  const pids = victim.includes("new QEMU") ? others : victim.includes("old QEMU") ? [source] : [];
  if (victim === "clock jumps") vm.clock?.jumpTo(target.jumpSeconds);
  else if (victim === "cprkit stopped") {
    running.child.kill("SIGSTOP");
    await sleep(2_000);
    running.child.kill("SIGCONT");
  } else if (victim.endsWith("stopped")) {
    for (const pid of pids) signal(pid, "SIGSTOP");
    const since = performance.now();
    await running.ended;
    const waitedMs = performance.now() - since;
    for (const pid of pids) signal(pid, "SIGCONT");
    return { running, blow: { wrong: [], waitedMs } };
  } else {
    if (victim.startsWith("cprkit")) running.child.kill("SIGKILL");
    for (const pid of pids) signal(pid, "SIGKILL");
  }
  await running.ended;
  return { running, blow: { wrong: [] } };
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended by itself.
  }
}

/** So slow, and asked to stop the guest so briefly, that it goes on for longer than an update. */
const slow = { "max-bandwidth": 4096, "downtime-limit": 1, "avail-switchover-bandwidth": 1 };
const usual = { "max-bandwidth": 128 * 1024 * 1024, "downtime-limit": 300, "avail-switchover-bandwidth": 0 };

/** Another client of QEMU saves the VM to a file: from before the update, or from a time within it. */
async function withMigration(target: Target): Promise<{ readonly running: Running; readonly blow: Blow }> {
  const { vm, afterMs } = target;
  const isBefore = afterMs % 2 === 0;
  const qmp = await connectQmp(vm.otherQmp, { waitMs: 5_000 });
  let said = "";
  try {
    let began = isBefore && (await migrate(vm, qmp));
    const running = target.begin();
    if (!isBefore) {
      await sleep(afterMs);
      began = await migrate(vm, qmp);
    }
    const { code, stderr } = await running.ended;
    said = stderr;
    const wrong: string[] = [];
    if (isBefore) {
      const { status } = await qmp.execute("query-migrate");
      if (!began) wrong.push("the other migration did not begin");
      else if (status !== "active") wrong.push(`the other migration was disturbed: ${status}`);
      if (code !== 4 || !stderr.includes("migration-active")) wrong.push(`not refused (code ${code}): ${stderr}`);
    }
    return { running, blow: { wrong } };
  } finally {
    await endMigration(qmp, said.includes("has given the guest away"));
    await qmp.close();
  }
}

/** Whether it began. */
async function migrate(vm: Subject, qmp: Qmp): Promise<boolean> {
  try {
    await qmp.execute("migrate-set-parameters", slow);
    await qmp.execute("migrate", { uri: `file:${vm.home}/tmp/migration` });
    return true;
  } catch {
    return false;
  }
}

/** The QEMU may have ended, or given the guest away: to this client's file, if `isSaved`; then it is this client who goes on. */
async function endMigration(qmp: Qmp, isSaved: boolean): Promise<void> {
  try {
    await qmp.execute("migrate_cancel");
    for (let turn = 0; turn < 200; turn++) {
      const { status } = await qmp.execute("query-migrate");
      if (status !== "active" && status !== "cancelling" && status !== "setup") break;
      await sleep(20);
    }
    await qmp.execute("migrate-set-parameters", usual);
    if (isSaved) await qmp.execute("cont");
  } catch {
    // What that means for the guest is seen by the checks.
  }
}
