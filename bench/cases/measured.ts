// What one process of the benchmark reports: the same line of JSON from cprkit's cases and from the C peers.

import { z } from "zod";

/** bench/peers/README.md says what each field is. */
export const measured = z.object({
  case: z.string(),
  n: z.number(),
  rounds: z.number().optional(),
  ops: z.number().optional(),
  samples_ns: z.array(z.number()).optional(),
  check: z.number().optional(),
  bytes: z.number().optional(),
  bytes_per_fd: z.number().optional(),
  rss_bytes_per_fd: z.number().optional(),
  /** cprkit across exec: milliseconds by phase. */
  phases_ms: z.record(z.string(), z.number()).optional(),
});

export type Measured = z.infer<typeof measured>;

/** A case at one size. `round` does the whole work once and says how long it took and what came of it. */
export interface Work {
  readonly ops: number;
  /** Length of the stream, where there is one. */
  readonly bytes?: number;
  round(): Timed | Promise<Timed>;
  close?(): void;
}

export interface Timed {
  readonly ns: number;
  /** Proof of work, by the C peers' rules. */
  readonly check: number;
}

/** The engine has compiled what is measured by then, mostly. */
const warmUpMs = 250;

/** Warms up, then measures. Throws if two rounds came to different results. */
export async function measure(name: string, n: number, rounds: number, work: Work): Promise<Measured> {
  try {
    const warm = performance.now() + warmUpMs;
    const first = await work.round();
    while (performance.now() < warm) await work.round();
    const samples: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const { ns, check } = await work.round();
      if (check !== first.check) throw new Error(`${name}: one round came to ${first.check}, another to ${check}`);
      samples.push(ns);
    }
    const { ops, bytes } = work;
    return {
      case: name,
      n,
      rounds,
      ops,
      samples_ns: samples,
      check: first.check,
      ...(bytes === undefined ? {} : { bytes }),
    };
  } finally {
    work.close?.();
  }
}

/** Times `run`, which returns a check. */
export function timed(run: () => number): Timed {
  const start = process.hrtime.bigint();
  const check = run();
  return { ns: Number(process.hrtime.bigint() - start), check: check >>> 0 };
}
