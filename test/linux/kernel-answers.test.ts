// Every system call of a transfer of 1,000 fds is refused once, at every place from which it is made: the transfer ends
// with a clear error or succeeds, keeps no fd, and never hangs.

import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { receiveCprState, sendCprState } from "../../src/channel/index.ts";
import { CprState } from "../../src/cpr/index.ts";
import { closeFds, createEventfd } from "../../src/linux/index.ts";
import { sweep } from "../support/kernel-answers.ts";
import { withTempDir } from "./support.ts";

const count = 1000;
let round = 0;

/** Sends 1,000 fds to ourselves; gives what either side threw. */
async function transfer(directory: string): Promise<unknown[]> {
  const path = join(directory, `cpr${round++}.sock`);
  const state = new CprState();
  const fds: number[] = [];
  try {
    for (let at = 0; at < count; at++) {
      const fd = createEventfd();
      fds.push(fd);
      state.saveFd("0000:3b:00.0_interrupt", at, fd);
    }
    const receiving = receiveCprState(path, { connectTimeoutMs: 1_500, timeoutMs: 1_500 });
    const sending = sendCprState(path, state, { timeoutMs: 1_500 });
    const [received, sent] = await Promise.allSettled([receiving, sending]);
    const errors: unknown[] = [];
    if (received.status === "fulfilled") {
      expect(received.value.state.size).toBe(count);
      try {
        received.value.hangUp();
      } catch (error) {
        errors.push(error);
      }
      closeFds(received.value.state.entries().map(({ fd }) => fd));
    } else errors.push(received.reason);
    if (sent.status === "rejected") errors.push(sent.reason);
    else {
      try {
        await sent.value.hungUp({ timeoutMs: 1_500 });
      } catch (error) {
        errors.push(error);
        sent.value.close();
      }
    }
    return errors;
  } catch (error) {
    return [error];
  } finally {
    closeFds(fds);
  }
}

describe("what the kernel may answer during a transfer of 1,000 fds", () => {
  it("an error that says what failed, or success; no fd kept, no hang", { timeout: 300_000 }, () =>
    withTempDir(async (directory) => {
      const { sites, wrong } = await sweep(() => transfer(directory));
      expect(sites.length).toBeGreaterThan(20);
      expect(wrong).toEqual([]);
    }),
  );
});
