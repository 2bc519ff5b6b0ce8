// Watches the copying of a running guest's RAM: says how far it is, and gives up when it has no end.

import { setTimeout as delay } from "node:timers/promises";
import { CprkitError } from "../../../vmstate/error.ts";
import type { Qmp } from "../../qmp/client.ts";
import type { QmpReturn } from "../../qmp/schema.ts";
import type { CopyProgress } from "../options.ts";
import { type Run, throwIfAborted } from "../run.ts";

const askEveryMs = 200;

/**
 * Returns when the guest has been stopped for the last part, or the migration has ended.
 *
 * @param since number of the last event before the copying began
 * @throws CprkitError ERR_TIMEOUT when it is not copied in time or nothing moves any more; ERR_UPDATE_FAILED, ERR_ABORTED
 */
export async function watchCopy(run: Run, source: Qmp, since: number): Promise<void> {
  const { options, timeoutMs } = run;
  const { signal } = options;
  const hasStopped = () => source.events().some(({ name, seq }) => name === "STOP" && seq > since);
  const start = performance.now();
  const limitMs = options.copyTimeoutMs ?? defaultLimitMs(run);
  let moved = { bytes: 0, at: start };
  for (;;) {
    throwIfAborted(signal, "running");
    if (hasStopped()) return;
    const info = await source.execute("query-migrate", undefined, { signal, timeoutMs });
    const { status = "none", ram } = info;
    if (status === "completed" || status === "device") return;
    if (status === "failed" || status === "cancelled") {
      const why = info["error-desc"] ?? status;
      throw new CprkitError("ERR_UPDATE_FAILED", `the old QEMU could not copy the guest: ${why}`);
    }
    const now = performance.now();
    if (ram !== undefined) {
      if (ram.transferred > moved.bytes) moved = { bytes: ram.transferred, at: now };
      options.onCopy?.(progressOf(ram, info, now - start));
    }
    if (now - start > limitMs) throw tooLong(now - start, ram, info);
    if (now - moved.at > timeoutMs) {
      throw new CprkitError("ERR_TIMEOUT", `no byte of the guest's RAM has been copied for ${timeoutMs} ms`);
    }
    await delay(askEveryMs);
  }
}

/** 10 minutes, and one more for each GiB. */
function defaultLimitMs({ prepared }: Run): number {
  const bytes = prepared.machine.memory.backends.reduce((sum, { size }) => sum + size, 0);
  return (10 + bytes / 2 ** 30) * 60_000;
}

type Ram = NonNullable<QmpReturn<"query-migrate">["ram"]>;

function progressOf(ram: Ram, info: QmpReturn<"query-migrate">, elapsedMs: number): CopyProgress {
  const rate = (ram.mbps * 1e6) / 8;
  const pageSize = ram["page-size"] ?? 4096;
  const dirtyRate = ram["dirty-pages-rate"] * pageSize;
  const left = rate - dirtyRate;
  return {
    total: ram.total,
    remaining: ram.remaining,
    transferred: ram.transferred,
    bytesPerSecond: rate,
    dirtyBytesPerSecond: dirtyRate,
    throttle: info["cpu-throttle-percentage"] ?? 0,
    elapsedMs,
    // Of this round; a guest that writes as fast as is copied has no end.
    leftMs: left > 0 && rate > 0 ? (ram.remaining / left) * 1000 : undefined,
  };
}

function tooLong(ms: number, ram: Ram | undefined, info: QmpReturn<"query-migrate">): CprkitError {
  const of = ram === undefined ? "" : `: ${ram.remaining} of ${ram.total} bytes are left`;
  const throttled = info["cpu-throttle-percentage"];
  const slow = throttled === undefined ? "" : `, although the guest was slowed down by ${throttled} %`;
  return new CprkitError(
    "ERR_TIMEOUT",
    `the guest's RAM was not copied within ${Math.round(ms / 1000)} s${of}${slow}: the guest writes faster than is ` +
      "copied; allow a longer pause (--max-downtime), more time (--copy-timeout), or update when it writes less",
  );
}
