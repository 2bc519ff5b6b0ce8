// From the command that stops the guest until the new QEMU has it.

import { CprkitError } from "../../vmstate/error.ts";
import type { Qmp } from "../qmp/client.ts";
import type { QmpEvent } from "../qmp/events.ts";
import { sourceQmp } from "./beside.ts";
import type { Destination } from "./peers/destination.ts";
import { askPeer } from "./peers/peer.ts";
import { type Run, throwIfAborted } from "./run.ts";

/** Waits until the destination has the guest. @throws CprkitError when it can't be any more, or after the timeout */
export async function untilTakenOver(run: Run, destination: Destination): Promise<void> {
  const qmp = await sourceQmp(run);
  let loadedAt: number | undefined;
  await destination.orExit(
    waitFor(run, [qmp, destination.qmp], async () => {
      const there = await askPeer(destination, run.timeoutMs);
      if (there.migration === "completed" && there.run !== "inmigrate") return true;
      if (there.migration === "completed") {
        // It has tried to start the guest before it says "completed", and does not try again (QEMU 10.0
        // migration/migration.c, process_incoming_migration_bh): another process has a lock on a disk, for example.
        loadedAt ??= performance.now();
        if (performance.now() - loadedAt > stuckMs) {
          const said = destination.said();
          const text = `the new QEMU has loaded the guest, but can't start it (inmigrate)${said === "" ? "" : `: ${said}`}`;
          throw new CprkitError("ERR_UPDATE_FAILED", text);
        }
      }
      const here = await askPeer(run.source, run.timeoutMs);
      if (!here.alive) throw new CprkitError("ERR_QEMU_EXITED", "the old QEMU has ended in the middle of the update");
      if (here.migration === "failed" || here.migration === "cancelled") {
        throw new CprkitError(
          "ERR_UPDATE_FAILED",
          `the old QEMU could not hand the guest over: ${here.error ?? here.migration}`,
        );
      }
      return false;
    }),
  );
}

/** How long a QEMU that has loaded the guest may take until it says so of its run state. */
const stuckMs = 200;

/**
 * Calls `look` when a migration has ended on one of the monitors, and every 100 ms, until it is true. Not at every
 * event: while the guest stands still each question keeps a QEMU from its work.
 */
export async function waitFor(
  run: Run,
  monitors: readonly (Qmp | undefined)[],
  look: () => Promise<boolean>,
): Promise<void> {
  const { signal } = run.options;
  const end = performance.now() + run.timeoutMs;
  let wake: () => void = () => undefined;
  let hasEnded = monitors.some((qmp) => qmp?.events().some(isEnd) === true);
  const stops = monitors.map((qmp) =>
    qmp?.onEvent((event) => {
      if (!isEnd(event)) return;
      hasEnded = true;
      wake();
    }),
  );
  const onAbort = () => wake();
  const pauseFor = async (ms: number, woken: Promise<void>) => {
    const timer = setTimeout(() => wake(), ms);
    await woken;
    clearTimeout(timer);
  };
  let isFirst = true;
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    for (;;) {
      const woken = new Promise<void>((resolve) => {
        wake = resolve;
      });
      if (isFirst && !hasEnded) await pauseFor(100, woken);
      isFirst = false;
      if (await look()) return;
      throwIfAborted(signal, "running");
      if (run.over.signal.aborted) throw new CprkitError("ERR_ABORTED", "the update is over");
      if (performance.now() > end) {
        throw new CprkitError("ERR_TIMEOUT", `the guest was not handed over within ${run.timeoutMs} ms`);
      }
      // The run state changes a little after the event that says so.
      await pauseFor(hasEnded ? 2 : 100, woken);
    }
  } finally {
    signal?.removeEventListener("abort", onAbort);
    for (const stop of stops) stop?.();
  }
}

function isEnd({ name, data }: QmpEvent): boolean {
  return name === "MIGRATION" && ["completed", "failed", "cancelled"].includes(String(data["status"]));
}

/** When the last event of this name came, by QEMU's clock, in microseconds. */
export function timeOf(qmp: Qmp, event: "STOP" | "RESUME"): number | undefined {
  return qmp.events().findLast(({ name }) => name === event)?.timeUs;
}

/**
 * Notes STOP of the source and RESUME of the destination. Each is a time of the wall clock as its QEMU read it; if that
 * was set in between, the difference says nothing. The clock that never jumps says how long it can have been at most.
 */
export function noteDowntime(run: Run, stopUs: number | undefined, resumeUs: number | undefined): void {
  run.stopUs = stopUs;
  run.resumeUs = resumeUs;
  if (stopUs === undefined || resumeUs === undefined || run.switchedMs === undefined) return;
  const ms = (resumeUs - stopUs) / 1000;
  const atMostMs = performance.now() - run.switchedMs;
  if (ms >= 0 && ms <= atMostMs * 1.01 + 1) {
    run.downtimeMs = ms;
    return;
  }
  run.warnings.push(
    `how long the guest stood still is not known: ${ms.toFixed(1)} ms by the clocks of the two QEMUs, but the clock was ` +
      `set meanwhile; it was at most ${atMostMs.toFixed(1)} ms`,
  );
}

/**
 * Does the step "switching", then calls the step "stopped" as soon as the source says so. Wait for the returned
 * function once the guest has been handed over.
 */
export async function switchOver(run: Run, source: Qmp, act: () => Promise<unknown>): Promise<() => Promise<void>> {
  const since = source.lastEventSeq();
  await run.step("switching", async () => {
    run.switchedMs = performance.now();
    await act();
  });
  let told: Promise<void> | undefined;
  const tell = () => {
    told ??= run.step("stopped");
    // Whoever waits for it gets its error; until then it must not count as unhandled.
    told.catch(() => undefined);
    return told;
  };
  const stop = source.onEvent(({ name }) => {
    if (name === "STOP") tell();
  });
  if (source.events().some(({ name, seq }) => name === "STOP" && seq > since)) tell();
  return () => {
    stop();
    return tell();
  };
}
