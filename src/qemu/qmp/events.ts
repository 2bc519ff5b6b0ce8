// The events of one QMP session: kept, so that a STOP that came before anybody waited for it can still be read.

import { z } from "zod";
import type { WaitOptions } from "../../linux/index.ts";
import { type Settle, waitFor } from "../../linux/wait/wait-for.ts";
import type { CprkitError } from "../../vmstate/error.ts";

/** How an event looks on the wire (QEMU 10.0 docs/interop/qmp-spec.rst). */
export const qmpEventSchema = z.looseObject({
  event: z.string(),
  data: z.record(z.string(), z.unknown()).optional(),
  timestamp: z.looseObject({ seconds: z.number(), microseconds: z.number() }),
});

/** One event of QEMU. */
export interface QmpEvent {
  /** QEMU's name, such as "STOP". */
  readonly name: string;
  /** What QEMU says of it; {} if nothing. */
  readonly data: Readonly<Record<string, unknown>>;
  /** When QEMU says it happened: microseconds since 1970 by the host's clock. */
  readonly timeUs: number;
  /** Place among all events of this session, from 1. Strictly rising, also when the host's clock is set back. */
  readonly seq: number;
}

/** Options of {@link QmpEvents.waitForEvent}. */
export interface WaitForEventOptions extends WaitOptions {
  /**
   * Also look back, at kept events with a greater `seq` than this; 0 looks at all. Take it from `lastEventSeq()`
   * before the command that causes the event. Without it only events that arrive from now on count.
   */
  readonly since?: number | undefined;
}

/** The part of a session that is about events. */
export interface QmpEvents {
  /**
   * Calls `listener` for each event that arrives from now on; returns what stops that. An error that the listener
   * throws surfaces as an uncaught exception and leaves the session unharmed.
   */
  onEvent(listener: (event: QmpEvent) => void): () => void;
  /** The kept events, oldest first: all of the session, or the last `maxEvents` (and 4 MiB) if there were more. */
  events(): readonly QmpEvent[];
  /** `seq` of the newest event; 0 before the first. */
  lastEventSeq(): number;
  /**
   * Resolves with the first event of that name, or for which the predicate is true.
   *
   * @throws CprkitError ERR_TIMEOUT (default 30 s), ERR_ABORTED, or ERR_QEMU_EXITED, ERR_QMP, ERR_ABORTED when the
   * session has ended without it.
   */
  waitForEvent(which: string | ((event: QmpEvent) => boolean), options?: WaitForEventOptions): Promise<QmpEvent>;
}

/** An event log together with what feeds it. */
export interface EventLog extends QmpEvents {
  /** @param bytes its length on the wire */
  add(event: z.infer<typeof qmpEventSchema>, bytes: number): void;
  /** Rejects all who wait; `why` makes the error from what they were doing. */
  end(why: (doing: string) => CprkitError): void;
}

/** The kept events take at most so many bytes of the wire. */
const maxKeptBytes = 4 * 1024 * 1024;

/** Makes an empty log that keeps the newest `maxEvents` events of the monitor `label`, and at most 4 MiB of them. */
export function eventLog(label: string, maxEvents: number): EventLog {
  const kept: QmpEvent[] = [];
  const sizes: number[] = [];
  let keptBytes = 0;
  const listeners = new Set<(event: QmpEvent) => void>();
  let seq = 0;
  let ended: ((doing: string) => CprkitError) | undefined;
  const waiting = new Set<(why: (doing: string) => CprkitError) => void>();

  const onEvent = (listener: (event: QmpEvent) => void) => {
    // Wrapped, so that the same function given twice is two subscriptions.
    const own = (event: QmpEvent) => listener(event);
    listeners.add(own);
    return () => void listeners.delete(own);
  };

  return {
    onEvent,
    events: () => [...kept],
    lastEventSeq: () => seq,
    waitForEvent(which, options = {}) {
      const timeoutMs = options.timeoutMs ?? 30_000;
      const matches = typeof which === "string" ? (event: QmpEvent) => event.name === which : which;
      const doing = typeof which === "string" ? `waiting for event "${which}"` : "waiting for an event";
      const onTimeout = () =>
        `${label}: ${doing}: none within ${timeoutMs} ms; last event: ${kept.at(-1)?.name ?? "none at all"}`;
      const begin = (settle: Settle<QmpEvent>) => {
        const offer = (event: QmpEvent) => {
          try {
            if (matches(event)) settle.resolve(event);
          } catch (error) {
            settle.reject(error);
          }
        };
        const giveUp = (why: (doing: string) => CprkitError) => settle.reject(why(doing));
        const stop = onEvent(offer);
        waiting.add(giveUp);
        const { since } = options;
        if (since !== undefined) for (const event of kept) if (event.seq > since) offer(event);
        if (ended !== undefined) giveUp(ended);
        return () => {
          stop();
          waiting.delete(giveUp);
        };
      };
      return waitFor<QmpEvent>(doing, { ...options, timeoutMs }, onTimeout, begin);
    },
    add({ event: name, data = {}, timestamp }, bytes) {
      seq += 1;
      const event = { name, data, timeUs: timestamp.seconds * 1e6 + timestamp.microseconds, seq };
      kept.push(event);
      sizes.push(bytes);
      keptBytes += bytes;
      while (kept.length > maxEvents || (keptBytes > maxKeptBytes && kept.length > 1)) {
        kept.shift();
        keptBytes -= sizes.shift() ?? 0;
      }
      for (const listener of [...listeners]) {
        try {
          listener(event);
        } catch (error) {
          // Thrown here it would cut off the messages that follow in the same chunk.
          setImmediate(() => {
            throw error;
          });
        }
      }
    },
    end(why) {
      ended = why;
      for (const giveUp of [...waiting]) giveUp(why);
      listeners.clear();
    },
  };
}
