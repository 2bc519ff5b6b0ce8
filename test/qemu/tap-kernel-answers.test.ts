// Every system call of a transfer through the tap is refused once, and always, at every place from which it is made: by
// the tap or at its two ends, which are in this process too.

import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { receiveCprState, sendCprState } from "../../src/channel/index.ts";
import { CprState } from "../../src/cpr/index.ts";
import { closeFds, createEventfd } from "../../src/linux/index.ts";
import { type TapOptions, tap } from "../../src/qemu/tap.ts";
import { withTempDir } from "../channel/support.ts";
import { sweep } from "../support/kernel-answers.ts";

/** Several messages, each way. */
const count = 40;
const timeoutMs = 500;
let round = 0;

/** Sends fds to ourselves through a tap; gives what the three threw. */
async function transfer(directory: string, how: Pick<TapOptions, "to">): Promise<unknown[]> {
  const [listen, connect] = [join(directory, `tap${round}.sock`), join(directory, `cpr${round++}.sock`)] as const;
  const state = new CprState();
  const fds: number[] = [];
  const errors: unknown[] = [];
  try {
    for (let at = 0; at < count; at++) {
      fds.push(createEventfd());
      state.saveFd("0000:3b:00.0_interrupt", at, fds[at] as number);
    }
    const abort = new AbortController();
    const { signal } = abort;
    let timer: NodeJS.Timeout | undefined;
    const parts = [
      tap({ ...how, listen, connect, timeoutMs, signal }),
      receive(connect, signal),
      send(listen, state, signal),
    ].map(async (part) => {
      try {
        await part;
      } catch (error) {
        errors.push(error);
        // The others notice by themselves, but for those that wait for somebody to connect: they need not wait long.
        timer ??= setTimeout(() => abort.abort(), 50);
      }
    });
    await Promise.all(parts);
    clearTimeout(timer);
  } catch (error) {
    errors.push(error);
  }
  closeFds(fds);
  return errors;
}

async function receive(path: string, signal: AbortSignal): Promise<void> {
  const received = await receiveCprState(path, { connectTimeoutMs: 2 * timeoutMs, timeoutMs, signal });
  const fds = received.state.entries().map(({ fd }) => fd);
  try {
    expect(fds).toHaveLength(count);
    received.hangUp();
  } finally {
    received.close();
    closeFds(fds);
  }
}

async function send(path: string, state: CprState, signal: AbortSignal): Promise<void> {
  using sent = await sendCprState(path, state, { timeoutMs, waitForListener: true, signal });
  await sent.hungUp({ timeoutMs: 2 * timeoutMs, signal });
}

describe("what the kernel may answer during a transfer through the tap", () => {
  for (const to of [undefined, "hash"] as const) {
    const how = to === undefined ? "as it comes" : "translated";
    it(`${how}: an error that says what failed, or success; no fd kept, no hang`, { timeout: 300_000 }, () =>
      withTempDir(async (directory) => {
        expect(await transfer(directory, { to })).toEqual([]);
        const { sites, wrong } = await sweep(() => transfer(directory, { to }));
        expect(sites.filter(({ from }) => from.includes("qemu/tap")).length).toBeGreaterThan(5);
        expect(wrong).toEqual([]);
      }),
    );
  }
});
