// What a copy would cost: memory for a second time, and time, from the guest's RAM and from how fast it writes.

import { setTimeout as delay } from "node:timers/promises";
import { isCprkitError } from "../../vmstate/error.ts";
import type { Qmp } from "../qmp/client.ts";
import { memoryForSecond } from "./checks/limits.ts";
import type { Facts } from "./facts.ts";

/** An estimate, in bytes, bytes a second and milliseconds. */
export interface CopyEstimate {
  /** What the second QEMU needs of the host, guest RAM included: from what the running one has of it now. */
  readonly memory: number;
  /** What the guest writes, sampled for a second (calc-dirty-rate); undefined where QEMU does not tell. */
  readonly dirtyBytesPerSecond: number | undefined;
  /** What is reckoned with: {@link assumedBytesPerSecond}. */
  readonly bytesPerSecond: number;
  /** Until the guest runs in the new QEMU; undefined for a guest that writes faster than is copied. */
  readonly ms: number | undefined;
  /** The longest pause that is allowed, which QEMU keeps to as it estimates (the parameter downtime-limit). */
  readonly downtimeLimitMs: number;
}

/** Of one core of a server of 2020 by a UNIX socket (bench/copy.mjs); the update itself shows the real one. */
const assumedBytesPerSecond = 1.5 * 2 ** 30;

/** Measures for a second, changes nothing. @throws CprkitError as `Qmp.execute`, but for a refusal */
export async function estimateCopy(qmp: Qmp, facts: Facts): Promise<CopyEstimate> {
  const dirty = await dirtyRate(qmp);
  const memory = memoryForSecond(facts);
  const left = assumedBytesPerSecond - (dirty ?? 0);
  return {
    memory,
    dirtyBytesPerSecond: dirty,
    bytesPerSecond: assumedBytesPerSecond,
    // Each round sends what was written during the one before: a geometric series.
    ms: left > 0 ? (memory / left) * 1000 : undefined,
    downtimeLimitMs: Number(facts.runs.migration.parameters["downtime-limit"] ?? 300),
  };
}

async function dirtyRate(qmp: Qmp): Promise<number | undefined> {
  try {
    await qmp.execute("calc-dirty-rate", { "calc-time": 1 });
    for (let asked = 0; asked < 40; asked++) {
      await delay(100);
      const { status, "dirty-rate": rate } = await qmp.execute("query-dirty-rate");
      if (status === "measured") return rate === undefined ? undefined : rate * 2 ** 20;
    }
    return undefined;
  } catch (error) {
    // It has no such command, or measures already.
    if (isCprkitError(error, "ERR_QMP_COMMAND")) return undefined;
    throw error;
  }
}
