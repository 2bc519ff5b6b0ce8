// What a transfer holds is closed with the block that holds it: after an error no fd is left, and after success none is
// taken away.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { receiveCprState, sendCprState } from "../../src/channel/index.ts";
import { CprState } from "../../src/cpr/index.ts";
import {
  closeFd,
  closeFds,
  connectUnix,
  createEventfd,
  getNonblock,
  isOpen,
  listenUnix,
  socketPair,
} from "../../src/linux/index.ts";
import { expectNoFdLeak } from "../support/fds.ts";
import { failure, memfdState, withTempDir } from "./support.ts";

/** A transfer to ourselves of so many fds. */
async function transferred(count: number) {
  const [from, to] = socketPair();
  const { state, fds } = memfdState(count);
  const [sent, received] = await Promise.all([sendCprState(from, state), receiveCprState(to)]);
  const receivedFds = received.state.entries().map(({ fd }) => fd);
  return { sent, received, fds, receivedFds };
}

describe("a received state", () => {
  it("closes every fd and hangs up when its block ends by an error", () =>
    expectNoFdLeak(async () => {
      const { sent, received, fds, receivedFds } = await transferred(300);
      const takeOver = () => {
        using _held = received;
        expect(receivedFds.map(isOpen)).not.toContain(false);
        throw new Error("not taken over");
      };
      expect(takeOver).toThrow("not taken over");
      expect(receivedFds.map(isOpen)).not.toContain(true);
      await sent.hungUp({ timeoutMs: 5_000 });
      // The sender's own are untouched.
      expect(fds.map(isOpen)).not.toContain(false);
      closeFds(fds);
    }));

  it("leaves the fds to the caller after hangUp", () =>
    expectNoFdLeak(async () => {
      const { sent, received, fds, receivedFds } = await transferred(3);
      {
        using held = received;
        held.hangUp();
      }
      received.close();
      await sent.hungUp({ timeoutMs: 5_000 });
      expect(receivedFds.map(isOpen)).toEqual([true, true, true]);
      closeFds([...fds, ...receivedFds]);
    }));

  it("closes what is in it, once: neither an fd that was removed from it nor one that took a number since", () =>
    expectNoFdLeak(async () => {
      const { sent, received, fds, receivedFds } = await transferred(2);
      const own = received.state.findFd("ram0", 0);
      received.state.deleteFd("ram0", 0);
      received.close();
      expect(receivedFds.filter(isOpen)).toEqual([own]);
      // The lowest free numbers: those that were closed.
      const later = socketPair();
      received.close();
      received.hangUp();
      expect(later.map(isOpen)).toEqual([true, true]);
      sent.close();
      closeFds([...fds, ...later, own]);
    }));
});

it("a hand-over that is given up with its block closes its socket alone", () =>
  expectNoFdLeak(async () => {
    const [from, to] = socketPair();
    const { state, fds } = memfdState(2);
    const handOver = async () => {
      using sent = await sendCprState(from, state);
      expect(sent.fds).toBe(2);
      throw new Error("given up");
    };
    await expect(handOver()).rejects.toThrow("given up");
    expect([from, ...fds].map(isOpen)).toEqual([false, true, true]);
    closeFds([to, ...fds]);
  }));

it("a hand-over that has ended touches no fd again: its number may be another file's", () =>
  expectNoFdLeak(async () => {
    const [from, to] = socketPair();
    const own = createEventfd();
    const state = new CprState();
    state.saveFd("interrupt", 0, own);
    const [sent, received] = await Promise.all([sendCprState(from, state), receiveCprState(to)]);
    received.close();
    expect(await sent.hungUp({ timeoutMs: 5_000 })).toEqual({ nonblockRestored: 0 });
    closeFd(own);
    const later = Array.from({ length: 8 }, () => createEventfd({ nonblocking: false }));
    expect(later).toContain(own);
    sent[Symbol.dispose]();
    expect(later.map(getNonblock)).not.toContain(true);
    expect(await sent.hungUp()).toEqual({ nonblockRestored: 0 });
    closeFds(later);
  }));

it("a listener is closed, and its socket removed, with its block", () =>
  expectNoFdLeak(() =>
    withTempDir(async (directory) => {
      const path = join(directory, "cpr.sock");
      const listen = async () => {
        using listener = listenUnix(path);
        closeFd(await connectUnix(listener.path));
        throw new Error("mine");
      };
      await expect(listen()).rejects.toThrow("mine");
      expect(existsSync(path)).toBe(false);
      expect(await failure(connectUnix(path))).toMatchObject({ errno: "ENOENT" });
    }),
  ));
