// For the tests that put a new QEMU under a running guest: source and destination, the commands between them, and the
// check that the guest runs in exactly one of them and lost nothing.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect } from "vitest";
import { connectQmp, type Qmp, type TapResult, tap } from "../../src/qemu/index.ts";
import { expectNoFdLeak } from "../support/fds.ts";
import { usableAccel } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { privateDir, startVm, type Vm } from "../support/vm.ts";

/** A QEMU that runs the guest, and its monitor. */
export interface Running {
  readonly vm: Vm;
  readonly qmp: Qmp;
}

export interface UpdateOptions {
  /** Programs of the old and the new QEMU. */
  readonly from: string;
  readonly to: string;
  /** One that both have under the same name. Default pc-q35-10.0. */
  readonly machine?: string;
  readonly extraBackends?: number;
}

/** Paths that are fresh for each update. */
export interface Paths {
  readonly dir: string;
  /** The new QEMU's main channel. */
  readonly main: string;
  /** Where the new QEMU waits for its CPR state. */
  readonly cpr: string;
  /** Where the tap listens for the old one. */
  readonly tap: string;
}

export function freshPaths(): Paths {
  const dir = privateDir();
  const [main, cpr, tap] = ["main.sock", "cpr.sock", "tap.sock"].map((name) => join(dir, name)) as [
    string,
    string,
    string,
  ];
  return { dir, main, cpr, tap };
}

/** The old QEMU, with a guest that has begun to count. */
export async function startSource(options: UpdateOptions): Promise<Running> {
  const vm = await startVm({ ...(await machineOf(options)), qemu: options.from });
  await vm.listening();
  const qmp = await connectQmp(vm.qmpPath);
  await vm.serial.waitForCount(10, 20_000);
  return { vm, qmp };
}

/** The new QEMU; returns when it waits for its CPR state. */
export async function startDestination(options: UpdateOptions, { main, cpr }: Paths): Promise<Vm> {
  const channel = { "channel-type": "cpr", addr: { transport: "socket", type: "unix", path: cpr } };
  const incoming = [`unix:${main}`, JSON.stringify(channel)];
  const vm = await startVm({ ...(await machineOf(options)), qemu: options.to, incoming });
  await vm.listening(cpr);
  return vm;
}

async function machineOf({ from, machine = "pc-q35-10.0", extraBackends = 0 }: UpdateOptions) {
  return { machine, accel: await usableAccel(from), guest: "firmware", extraBackends } as const;
}

/** A tap, or two in a row: each between the paths that it is given. */
export type Taps = (listen: string, connect: string, dir: string) => Promise<TapResult>;

/** What an update through a tap was like. */
export interface Updated {
  readonly result: TapResult;
  /** The longest time between two numbers of the guest, in ms. */
  readonly maxGapMs: number;
}

/**
 * Puts the new QEMU under the guest of the old one, through `taps`. Checks that the guest has counted on, that the
 * taps' sockets are gone, and that this process has the same fds open as before.
 */
export function updateThroughTap(options: UpdateOptions, taps: Taps = oneTap): Promise<Updated> {
  return expectNoFdLeak(async () => {
    const paths = freshPaths();
    let source: Running | undefined;
    let destination: Vm | undefined;
    try {
      source = await startSource(options);
      destination = await startDestination(options, paths);
      const tapped = taps(paths.tap, paths.cpr, paths.dir);
      await migrate(source.qmp, paths.main, paths.tap);
      const result = await tapped;
      expect(result.hungUpBy).toBe("destination");
      const { maxGapMs } = await expectMoved(source, destination);
      expect(readdirSync(paths.dir)).not.toContain("tap.sock");
      return { result, maxGapMs };
    } finally {
      await endAll(source, destination);
    }
  });
}

const oneTap: Taps = (listen, connect) => tap({ listen, connect });

/** Tells the old QEMU to hand its state over. Returns when it has sent its CPR state. */
export async function migrate(qmp: Qmp, main: string, cpr: string): Promise<void> {
  const unix = (path: string) => ({ transport: "socket", type: "unix", path });
  await qmp.execute("migrate-set-capabilities", {
    capabilities: ["events", "return-path"].map((capability) => ({ capability, state: true })),
  });
  await qmp.execute("migrate-set-parameters", { mode: "cpr-transfer" });
  await qmp.execute("migrate", {
    channels: [
      { "channel-type": "main", addr: unix(main) },
      { "channel-type": "cpr", addr: unix(cpr) },
    ],
  });
}

/**
 * Waits until the guest runs in the new QEMU, checks that the old one does not run it, ends the old one, and checks
 * that the guest has counted on without a gap. Closes both monitors.
 */
export async function expectMoved(source: Running, destination: Vm): Promise<{ maxGapMs: number }> {
  const qmp = await connectQmp(destination.qmpPath, { waitMs: 20_000 });
  await untilStatus(qmp, "running");
  await untilStatus(source.qmp, "postmigrate");
  expect(await source.qmp.execute("query-status")).toMatchObject({ running: false });
  const before = source.vm.serial.counts().at(-1)?.value ?? 0;
  await source.qmp.execute("quit").catch(() => {});
  await source.vm.exited;
  await source.vm.serial.drained(5000);
  await destination.serial.waitForCount(before + 50, 20_000);
  const seen = assertContiguous(source.vm.serial, destination.serial);
  expect(seen.first).toBe(0);
  expect(seen.last).toBeGreaterThanOrEqual(before + 50);
  await Promise.all([qmp.close(), source.qmp.close()]);
  return seen;
}

/** Waits until the migration has failed, and checks that the guest counts on in the old QEMU and nowhere else. */
export async function expectStayed(source: Running, destination?: Vm): Promise<string> {
  const end = performance.now() + 20_000;
  let info = await source.qmp.execute("query-migrate");
  while (info.status !== undefined && !["failed", "cancelled"].includes(info.status) && performance.now() < end) {
    await delay(10);
    info = await source.qmp.execute("query-migrate");
  }
  expect(["failed", "cancelled", undefined]).toContain(info.status);
  await untilStatus(source.qmp, "running");
  await source.vm.serial.waitForMore(30, 20_000);
  assertContiguous(source.vm.serial);
  // What did not run has said nothing.
  if (destination !== undefined) expect(destination.serial.text()).toBe("");
  return info["error-desc"] ?? "";
}

export async function untilStatus(qmp: Qmp, wanted: string): Promise<void> {
  const end = performance.now() + 20_000;
  for (;;) {
    const { status } = await qmp.execute("query-status");
    if (status === wanted) return;
    if (performance.now() > end) throw new Error(`QEMU is ${status}, not ${wanted}`);
    await delay(5);
  }
}

/** Ends everything of one test, whatever has become of it. */
export async function endAll(...all: (Running | Vm | undefined)[]): Promise<void> {
  for (const one of all) {
    if (one === undefined) continue;
    if ("qmp" in one) await one.qmp.close();
    await ("vm" in one ? one.vm : one).kill();
  }
}
