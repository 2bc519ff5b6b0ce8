// What goes wrong on the way: slow, dying, foreign and lying peers. Whatever happens, no fd is left and one clear error
// says why.

import { chmodSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it, vi } from "vitest";
import { cutMessages, receiveCprState, receiveStream, sendCprState, sendMessages } from "../../src/channel/index.ts";
import { CprState, saveCprState } from "../../src/cpr/index.ts";
import {
  acceptUnix,
  closeFd,
  closeFds,
  compareOpenFiles,
  createEventfd,
  createMemfd,
  getNonblock,
  getSendBuffer,
  isOpen,
  listenUnix,
  receiveFds,
  sendFds,
  setNonblock,
  setSendBuffer,
  shutdownSocket,
  socketPair,
} from "../../src/linux/index.ts";
import { expectNoFdLeak } from "../support/fds.ts";
import { isRoot, nobody } from "../support/other-user.ts";
import { failure, memfdState, startChild, withTempDir } from "./support.ts";

const text = (value: string) => new TextEncoder().encode(value);
const nothingLeaked = { surplus: [], lost: [] };

describe("a slow transfer", () => {
  it("sends what the socket did not take at once, with each fd only once and in order", () =>
    expectNoFdLeak(async () => {
      const [from, to] = socketPair();
      const room = setSendBuffer(from, 1);
      expect(getSendBuffer(from)).toBe(room);
      const fds = Array.from({ length: 40 }, (_, i) => createMemfd(`slow${i}`));
      // Each message is many times what the socket takes.
      const bytes = Uint8Array.from({ length: 40 * room }, (_, i) => i % 251);
      const messages = [0, 1, 2, 3].map((part) => ({
        bytes: bytes.subarray(part * 10 * room, (part + 1) * 10 * room),
        fds: fds.slice(part * 10, (part + 1) * 10),
      }));
      const progress: number[] = [];
      const received = receiveStream(to, {
        onMessage: () => delay(1),
        onProgress: (passed) => progress.push(passed.bytes),
      });
      const sent = await sendMessages(from, messages);
      expect(sent).toEqual({ bytes: bytes.length, fds: 40 });
      closeFd(from);
      const stream = await received;
      expect(Buffer.compare(stream.bytes, bytes)).toBe(0);
      expect(stream.fds.map(({ fd }, i) => compareOpenFiles(fd, fds[i] as number))).not.toContain("different");
      expect(stream.fds.map(({ offset }, i) => offset <= Math.floor(i / 10) * 10 * room)).not.toContain(false);
      expect(progress.length).toBeGreaterThan(4);
      closeFds([to, ...fds, ...stream.fds.map(({ fd }) => fd)]);
    }));

  it("ends with ERR_TIMEOUT when the receiver takes nothing", () =>
    expectNoFdLeak(async () => {
      const [from, to] = socketPair();
      const { state, fds } = memfdState(2000);
      setSendBuffer(from, 1);
      expect(await failure(sendCprState(from, state, { timeoutMs: 50 }))).toMatchObject({ code: "ERR_TIMEOUT" });
      expect(isOpen(from)).toBe(false);
      expect(fds.every(isOpen)).toBe(true);
      closeFds([to, ...fds]);
    }));

  it("gives up after 30 s, unless told otherwise, where nobody comes to listen", () =>
    withTempDir((directory) =>
      expectNoFdLeak(async () => {
        const { state, fds } = memfdState(1);
        const sending = failure(sendCprState(join(directory, "nobody.sock"), state, { waitForListener: true }));
        const now = performance.now.bind(performance);
        const clock = vi.spyOn(performance, "now").mockImplementation(() => now() + 30_001);
        expect(await sending).toMatchObject({ code: "ERR_TIMEOUT" });
        clock.mockRestore();
        closeFds(fds);
      }),
    ));

  it("ends with ERR_TIMEOUT when the sender says nothing more, and closes what had come", () =>
    expectNoFdLeak(async () => {
      const [from, to] = socketPair();
      const { state, fds } = memfdState(20);
      await sendMessages(from, cutMessages(saveCprState(state), 16).slice(0, 1));
      expect(await failure(receiveCprState(to, { timeoutMs: 50 }))).toMatchObject({ code: "ERR_TIMEOUT" });
      expect(isOpen(to)).toBe(false);
      closeFds([from, ...fds]);
    }));

  it("one deadline for the whole of it: a peer that sends or takes a byte now and then does not renew it", () =>
    expectNoFdLeak(async () => {
      const [from, to] = socketPair();
      const trickle = setInterval(() => sendFds(from, Uint8Array.of(0), []), 10);
      const start = performance.now();
      const error = await failure(receiveCprState(to, { timeoutMs: 150 }));
      clearInterval(trickle);
      expect(error.code).toBe("ERR_TIMEOUT");
      expect(error.message).toMatch(
        /not done within 150 ms: waited for the rest of the CPR state, after \d+ bytes and 0 fds/,
      );
      // The trickle would go on for ever: what is asserted is that it ended, not how fast.
      expect(performance.now() - start).toBeGreaterThanOrEqual(149);
      closeFds([from]);

      const [sender, receiver] = socketPair();
      setSendBuffer(sender, 4096);
      const take = setInterval(() => receiveFds(receiver, new Uint8Array(1)), 10);
      const much = [{ bytes: new Uint8Array(4 * 1024 * 1024), fds: [] }];
      expect(await failure(sendMessages(sender, much, { timeoutMs: 150 }))).toMatchObject({
        code: "ERR_TIMEOUT",
        message: "not done within 150 ms: waited for the peer to take the CPR state",
      });
      clearInterval(take);
      closeFds([sender, receiver]);
    }));

  it("says that it waited for the hang-up", () =>
    expectNoFdLeak(async () => {
      const [from, to] = socketPair();
      const sent = await sendCprState(from, new CprState());
      expect(await failure(sent.hungUp({ timeoutMs: 30 }))).toMatchObject({
        message: expect.stringMatching(/within 30 ms: waited for the receiver to hang up/),
      });
      sent.close();
      closeFds([to]);
    }));

  it("ends with ERR_TIMEOUT when nobody connects, and removes the socket", () =>
    withTempDir((directory) =>
      expectNoFdLeak(async () => {
        const path = join(directory, "cpr.sock");
        expect(await failure(receiveCprState(path, { connectTimeoutMs: 30 }))).toMatchObject({ code: "ERR_TIMEOUT" });
        expect(await failure(sendCprState(path, memfdState(0).state))).toMatchObject({ errno: "ENOENT" });
        const waited = sendCprState(path, memfdState(0).state, { waitForListener: true, timeoutMs: 30 });
        expect(await failure(waited)).toMatchObject({ code: "ERR_TIMEOUT" });
      }),
    ));

  it("is aborted on either side", () =>
    expectNoFdLeak(async () => {
      const { state, fds } = memfdState(2000);
      for (const before of [true, false]) {
        const abort = new AbortController();
        if (before) abort.abort();
        else setTimeout(() => abort.abort(), 20);
        const [from, to] = socketPair();
        setSendBuffer(from, 1);
        const sending = failure(sendCprState(from, state, { signal: abort.signal }));
        const [silent, waiting] = socketPair();
        const receiving = failure(receiveCprState(waiting, { signal: abort.signal }));
        expect([await sending, await receiving]).toMatchObject([{ code: "ERR_ABORTED" }, { code: "ERR_ABORTED" }]);
        expect([from, waiting].map(isOpen)).toEqual([false, false]);
        // Aborted before it began, it sends nothing.
        if (before) expect(receiveFds(to, new Uint8Array(1))).toEqual({ bytesRead: 0, fds: [] });
        closeFds([to, silent]);
      }
      closeFds(fds);
    }));
});

describe("a peer that dies in the middle", () => {
  it("as the sender: the receiver says where the stream ends and keeps no fd", () =>
    withTempDir((directory) =>
      expectNoFdLeak(async () => {
        const path = join(directory, "cpr.sock");
        const child = startChild("die", { path, role: "sender", count: 1000 });
        const error = await failure(receiveCprState(path, { connectTimeoutMs: 20_000 }));
        // A stream that just ends, or a connection that was reset: as the kernel saw it.
        expect(error.code).toMatch(/^ERR_(EOF|PEER)$/);
        await child.exited;
      }),
    ));

  it("as the receiver: the sender says so and keeps its own fds", () =>
    withTempDir((directory) =>
      expectNoFdLeak(async () => {
        const path = join(directory, "cpr.sock");
        const { state, fds } = memfdState(5000);
        const child = startChild("die", { path, role: "receiver" });
        // 5,000 fds do not fit the socket's buffer: the sender is still at it.
        const error = await failure(sendCprState(path, state, { waitForListener: true, fdsPerMessage: 1 }));
        expect(error.code).toBe("ERR_PEER");
        expect(error.message).toContain("the peer closed the connection or died");
        expect(fds.every(isOpen)).toBe(true);
        await child.exited;
        closeFds(fds);
      }),
    ));
});

describe("a peer that lies", () => {
  /** What comes of a stream of these bytes, with these fds at its first byte. */
  async function receiving(bytes: Uint8Array, fds: readonly number[] = []) {
    const [from, to] = socketPair();
    await sendMessages(from, [{ bytes, fds }]);
    closeFd(from);
    return failure(receiveCprState(to));
  }

  it("sends garbage: its fds are closed", () =>
    expectNoFdLeak(async () => {
      const fd = createMemfd("garbage");
      expect(await receiving(text("GET / HTTP/1.1\r\n\r\n"), [fd, fd, fd])).toMatchObject({ code: "ERR_BAD_MAGIC" });
      expect(await receiving(text("QCPR"), [fd])).toMatchObject({ code: "ERR_EOF" });
      closeFd(fd);
    }));

  it("sends nothing at all", () =>
    expectNoFdLeak(async () => {
      const [from, to] = socketPair();
      closeFd(from);
      expect(await failure(receiveCprState(to))).toMatchObject({ code: "ERR_EOF" });
    }));

  it("sends an fd too many or too few", () =>
    expectNoFdLeak(async () => {
      const { state, fds } = memfdState(3);
      const { bytes } = saveCprState(state);
      expect(await receiving(bytes, [...fds, fds[0] as number])).toMatchObject({ code: "ERR_FD_SURPLUS" });
      const missing = await receiving(bytes, fds.slice(1));
      expect(missing).toMatchObject({ code: "ERR_FD_MISSING" });
      expect(missing.message).toMatch(/^CprState\/fds\[2\]\S* .*at byte \d+/);
      closeFds(fds);
    }));

  it("sends fds after the byte that they belong to", () =>
    expectNoFdLeak(async () => {
      const { state, fds } = memfdState(1);
      const { bytes } = saveCprState(state);
      const [from, to] = socketPair();
      await sendMessages(from, [
        { bytes: bytes.subarray(0, bytes.length - 1), fds: [] },
        { bytes: bytes.subarray(bytes.length - 1), fds: [] },
      ]);
      // The state's list ends with this byte; the fd comes one later.
      await sendMessages(from, [{ bytes: text("\0"), fds }]);
      closeFd(from);
      expect((await failure(receiveCprState(to))).code).toMatch(/^ERR_(FD_MISSING|TRAILING_BYTES)$/);
      closeFds(fds);
    }));

  it("sends numbers in place of fds", () =>
    expectNoFdLeak(async () => {
      const { state, fds } = memfdState(1);
      expect(await receiving(saveCprState(state, { fdForm: "number" }).bytes)).toMatchObject({ code: "ERR_BAD_BYTE" });
      closeFds(fds);
    }));

  it("sends without end", () =>
    expectNoFdLeak(async () => {
      const [from, to] = socketPair();
      const fd = createMemfd("endless");
      const endless = (async () => {
        for (;;) await sendMessages(from, [{ bytes: new Uint8Array(10_000), fds: [fd] }]);
      })();
      let passed = 0;
      const onProgress = ({ bytes }: { bytes: number }) => {
        passed = bytes;
      };
      const [error, sender] = await Promise.all([
        failure(receiveCprState(to, { maxBytes: 1_000_000, onProgress })),
        failure(endless),
      ]);
      expect(error).toEqual({ code: "ERR_LIMIT", message: expect.stringContaining("longer than 1000000 bytes") });
      expect(sender.code).toBe("ERR_PEER");
      expect(passed).toBeLessThanOrEqual(1_000_000);
      closeFds([from, fd]);
    }));

  it("sends one key twice: the second fd is closed, and a warning says so", () =>
    expectNoFdLeak(async () => {
      const { state, fds } = memfdState(2);
      const { bytes } = saveCprState(state);
      // "ram1" and "ram0" become "ram0" twice.
      const at = Buffer.from(bytes).indexOf("ram1");
      bytes.set(text("ram0"), at);
      const [from, to] = socketPair();
      await sendMessages(from, [{ bytes, fds: [...fds].reverse() }]);
      closeFd(from);
      const { state: received, dropped, warnings, hangUp } = await receiveCprState(to);
      expect(received.entries().map(({ name }) => name)).toEqual(["ram0"]);
      expect(compareOpenFiles(received.findFd("ram0", 0), fds[1] as number)).not.toBe("different");
      expect(dropped.map(({ fd }) => isOpen(fd))).toEqual([false]);
      expect(warnings).toEqual([expect.stringContaining('"ram0" id 0 appears more than once')]);
      hangUp();
      hangUp();
      closeFds([received.findFd("ram0", 0), ...fds]);
    }));
});

describe("a state that cannot be sent", () => {
  it("costs the connected socket, but no fd of the state", () =>
    expectNoFdLeak(async () => {
      const [from, to] = socketPair();
      const { state, fds } = memfdState(3);
      const outcomes: unknown[] = [
        await failure(sendCprState(from, state, { fdsPerMessage: 0 })),
        receiveFds(to, new Uint8Array(1)),
      ];
      expect(outcomes).toEqual([
        { code: "ERR_VALUE", message: expect.stringContaining("expected 1 to 253") },
        { bytesRead: 0, fds: [] },
      ]);
      closeFd(to);
      // An fd that is not open.
      const [other, end] = socketPair();
      closeFd(fds[1] as number);
      expect(await failure(sendCprState(other, state))).toMatchObject({ code: "ERR_FD_INVALID", errno: "EBADF" });
      closeFds([end, fds[0] as number, fds[2] as number]);
    }));
});

describe("the hang-up", () => {
  async function sent(count: number) {
    const [from, to] = socketPair();
    const { state, fds } = memfdState(count);
    const sending = await sendCprState(from, state);
    const receiving = await receiveStream(to);
    return { from, to, fds, sending, received: receiving.fds.map(({ fd }) => fd) };
  }

  it("is awaited for as long as the receiver works, and may be given up", () =>
    expectNoFdLeak(async () => {
      const { from, to, fds, sending, received } = await sent(2);
      expect(await failure(sending.hungUp({ timeoutMs: 30 }))).toMatchObject({ code: "ERR_TIMEOUT" });
      expect(await failure(sending.hungUp({ signal: AbortSignal.timeout(10) }))).toMatchObject({ code: "ERR_ABORTED" });
      expect(isOpen(from)).toBe(true);
      sending.close();
      expect(isOpen(from)).toBe(false);
      // Not a second time: the number may be another file's.
      sending.close();
      closeFds([to, ...fds, ...received]);
    }));

  it("is the receiver's close", () =>
    expectNoFdLeak(async () => {
      const { from, to, fds, sending, received } = await sent(2);
      closeFd(to);
      expect(await sending.hungUp()).toEqual({ nonblockRestored: 0 });
      expect(isOpen(from)).toBe(false);
      closeFds([...fds, ...received]);
    }));

  it("is also the receiver's end of its writing side, as it is for QEMU", () =>
    expectNoFdLeak(async () => {
      const { to, fds, sending, received } = await sent(2);
      shutdownSocket(to, "write");
      await sending.hungUp({ timeoutMs: 5000 });
      closeFds([to, ...fds, ...received]);
    }));

  it("sets O_NONBLOCK again where the receiver cleared it, as QEMU 10.0 does, and nowhere else", () =>
    expectNoFdLeak(async () => {
      for (const how of ["hungUp", "close"] as const) {
        const [from, to] = socketPair();
        const { state, fds } = memfdState(2);
        const nonblocking = [createEventfd(), createEventfd()];
        for (const [id, fd] of nonblocking.entries()) state.saveFd("interrupt", id, fd);
        const sending = await sendCprState(from, state);
        const { state: received, hangUp } = await receiveCprState(to);
        setNonblock(received.findFd("interrupt", 1), false);
        expect(nonblocking.map(getNonblock)).toEqual([true, false]);
        hangUp();
        expect(await sending[how]()).toEqual({ nonblockRestored: 1 });
        expect(nonblocking.map(getNonblock)).toEqual([true, true]);
        expect(fds.map(getNonblock)).toEqual([false, false]);
        closeFds([...fds, ...nonblocking, ...received.entries().map(({ fd }) => fd)]);
      }
    }));
});

it("sets O_NONBLOCK again also when the receiver clears it and dies in the middle", () =>
  expectNoFdLeak(async () => {
    const [from, to] = socketPair();
    const { state, fds } = memfdState(3000);
    const nonblocking = createEventfd();
    // The newest is sent first.
    state.saveFd("interrupt", 0, nonblocking);
    setSendBuffer(from, 1);
    const sending = failure(sendCprState(from, state));
    const received = receiveFds(to, new Uint8Array(30));
    if (received === "again") throw new Error("nothing was sent");
    setNonblock(received.fds[0] as number, false);
    closeFds([to, ...received.fds]);
    expect(await sending).toMatchObject({ code: "ERR_PEER" });
    expect(getNonblock(nonblocking)).toBe(true);
    closeFds([nonblocking, ...fds]);
  }));

if (!isRoot) console.warn("skipped: tests with a peer of another user: only root can start one");

describe.skipIf(!isRoot)(`another user [${isRoot ? "nobody" : "needs root"}]`, () => {
  it("who listens gets neither a byte nor an fd", () =>
    expectNoFdLeakWithStranger(async (path) => {
      const stranger = startChild("stranger", { path, role: "listen" }, nobody);
      await stranger.next();
      const { state, fds } = memfdState(3);
      const error = await failure(sendCprState(path, state));
      expect(error).toEqual({ code: "ERR_PEER_CREDENTIALS", message: expect.stringContaining("uid 65534") });
      expect(await stranger.next()).toEqual({ bytes: 0, fds: 0 });
      closeFds(fds);
      await stranger.exited;
    }));

  it("who listens is served when named", () =>
    expectNoFdLeakWithStranger(async (path) => {
      const stranger = startChild("stranger", { path, role: "listen" }, nobody);
      await stranger.next();
      const { state, fds } = memfdState(3);
      const sending = await sendCprState(path, state, { peerUid: nobody.uid });
      expect(await stranger.next()).toEqual({ bytes: sending.bytes, fds: 3 });
      await sending.hungUp();
      closeFds(fds);
      await stranger.exited;
    }));

  it("who connects is refused before anything is read", () =>
    expectNoFdLeakWithStranger(async (path) => {
      const listener = listenUnix(path, { mode: 0o777 });
      const stranger = startChild("stranger", { path, role: "connect" }, nobody);
      const error = await failure(receiveCprState(await acceptUnix(listener.fd)));
      expect(error).toEqual({ code: "ERR_PEER_CREDENTIALS", message: expect.stringContaining("uid 65534") });
      listener.close();
      await stranger.exited;
    }));

  it("cannot connect at all where receiveCprState listens", () =>
    expectNoFdLeakWithStranger(async (path) => {
      const receiving = failure(receiveCprState(path, { connectTimeoutMs: 1500 }));
      const stranger = startChild("stranger", { path, role: "connect" }, nobody);
      await expect(stranger.next()).rejects.toThrow("EACCES");
      expect(await receiving).toMatchObject({ code: "ERR_TIMEOUT" });
    }));

  /** In a folder where anybody may put a socket. */
  function expectNoFdLeakWithStranger(body: (path: string) => Promise<void>): Promise<void> {
    return withTempDir(async (directory) => {
      chmodSync(directory, 0o777);
      await expectNoFdLeak(() => body(join(directory, "cpr.sock")));
    });
  }
});

describe("a low RLIMIT_NOFILE", () => {
  it("in the receiver: it says that fds were lost, names the limit and keeps none", () =>
    withTempDir((directory) =>
      expectNoFdLeak(async () => {
        const path = join(directory, "cpr.sock");
        const child = startChild("few-fds", { path, role: "receiver", limit: 200 });
        const { state, fds } = memfdState(1000);
        const sending = sendCprState(path, state, { waitForListener: true }).then(
          (sent) => sent.close(),
          () => {},
        );
        const report = await child.next<{ message: string }>();
        expect(report).toMatchObject({ code: "ERR_CONTROL_TRUNCATED", leaked: nothingLeaked });
        expect(report.message).toContain("200 fds open at once (RLIMIT_NOFILE)");
        child.tell("end");
        expect(await child.exited).toBe(0);
        await sending;
        closeFds(fds);
      }),
    ));

  for (const { name, waitMs } of [
    { name: "waits until the receiver has taken some", waitMs: 300 },
    { name: "gives up in the end, with the kernel's error and the remedy", waitMs: undefined },
  ]) {
    it.skipIf(!isRoot)(`in an unprivileged sender with too many fds in flight: ${name} [needs root]`, () =>
      withTempDir(async (directory) => {
        chmodSync(directory, 0o777);
        await expectNoFdLeak(async () => {
          const path = join(directory, "cpr.sock");
          const listener = listenUnix(path, { mode: 0o777 });
          const count = 1200;
          const options = { path, role: "sender", limit: 300, count, timeoutMs: waitMs === undefined ? 200 : 20_000 };
          const child = startChild("few-fds", options, nobody);
          const socket = await acceptUnix(listener.fd, { timeoutMs: 20_000 });
          listener.close();
          if (waitMs === undefined) {
            const report = await child.next<{ message: string }>();
            expect(report).toMatchObject({ code: "ERR_SYSCALL", errno: "ETOOMANYREFS", leaked: nothingLeaked });
            expect(report.message).toContain("RLIMIT_NOFILE, 300");
            closeFd(socket);
          } else {
            await delay(waitMs);
            const received = await receiveCprState(socket, { peerUid: nobody.uid });
            expect(received.state.size).toBe(count);
            received.hangUp();
            expect(await child.next()).toEqual({ sent: count, leaked: nothingLeaked });
            closeFds(received.state.entries().map(({ fd }) => fd));
          }
          child.tell("end");
          expect(await child.exited).toBe(0);
        });
      }),
    );
  }
});

it("sendFds and sendMessages agree on what a message is", () =>
  expectNoFdLeak(async () => {
    const [from, to] = socketPair();
    const fd = createMemfd("one");
    expect(sendFds(from, text("ab"), [fd])).toBe(2);
    await sendMessages(from, [{ bytes: text("cd"), fds: [fd] }]);
    closeFd(from);
    const { bytes, fds } = await receiveStream(to);
    expect([new TextDecoder().decode(bytes), fds.map(({ offset }) => offset)]).toEqual(["abcd", [0, 2]]);
    closeFds([to, fd, ...fds.map((passed) => passed.fd)]);
  }));
