import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, promises, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import {
  acceptUnix,
  closeFd,
  closeFds,
  connectUnix,
  createEventfd,
  createMemfd,
  dupFd,
  isOpen,
  listenUnix,
  readiness,
  receiveFds,
  sendFds,
  setSendBuffer,
  shutdownSocket,
  socketPair,
  waitHangup,
  waitReadable,
  waitWritable,
} from "../../src/linux/index.ts";
import { refuse } from "../support/kernel-answers.ts";
import { childReport, openFds } from "./support.ts";

const opened: number[] = [];

function pair(): readonly [number, number] {
  const sockets = socketPair();
  opened.push(...sockets);
  return sockets;
}

let before: string[] = [];

afterEach(() => {
  closeFds(opened.splice(0).filter(isOpen));
  if (before.length > 0) expect(openFds()).toEqual(before);
  before = [];
});

const byte = new Uint8Array(1);

describe("waiting for an fd", () => {
  it("lets timers run while it waits, and ends as soon as there is data", async () => {
    before = openFds();
    const [a, b] = pair();
    let ticks = 0;
    const ticking = setInterval(() => ticks++, 1);
    setTimeout(() => sendFds(a, byte, []), 60);
    const seen = await waitReadable(b);
    clearInterval(ticking);
    expect(ticks).toBeGreaterThan(5);
    expect(seen).toEqual({ readable: true, writable: false, hangup: false, peerShutdown: false, error: false });
  });

  it("lets timers run in a loop over an fd that is always ready", async () => {
    const fd = createEventfd({ initial: 1 });
    opened.push(fd);
    let fired = false;
    setTimeout(() => {
      fired = true;
    }, 5);
    let rounds = 0;
    for (; !fired && rounds < 5_000_000; rounds++) await waitReadable(fd);
    expect(fired).toBe(true);
  });

  it("serves 2,000 waits at once and leaves no fd behind", async () => {
    before = openFds();
    const count = 2000;
    const fds = Array.from({ length: count }, () => createEventfd());
    opened.push(...fds);
    const [socket, peer] = pair();
    const waits = fds.map((fd) => waitReadable(fd));
    // One for all of them: the epoll set.
    expect(openFds().length - before.length).toBe(count + 2 + 1);
    // libuv's threads are free meanwhile.
    await promises.stat("/");
    for (const fd of fds.reverse()) writeSync(fd, new BigUint64Array([1n]));
    const seen = await Promise.all(waits);
    expect(seen.every((state) => state.readable)).toBe(true);
    sendFds(peer, byte, []);
    await waitReadable(socket);
  });

  it("serves several waits of different kinds for one fd", async () => {
    before = openFds();
    const [a, b] = pair();
    setSendBuffer(a, 4096);
    while (sendFds(a, new Uint8Array(4096), []) !== "again");
    const order: string[] = [];
    const waits = [
      waitReadable(a).then(() => order.push("readable")),
      waitWritable(a).then(() => order.push("writable")),
      waitHangup(a).then(() => order.push("hangup")),
    ];
    while (receiveFds(b, new Uint8Array(65536)) !== "again");
    await waits[1];
    sendFds(b, byte, []);
    await waits[0];
    closeFd(b);
    await Promise.all(waits);
    expect(order).toEqual(["writable", "readable", "hangup"]);
  });

  it("tells a peer that shut down its writing side from one that closed", async () => {
    before = openFds();
    const [a, b] = pair();
    shutdownSocket(b, "write");
    expect(await waitHangup(a)).toMatchObject({ peerShutdown: true, hangup: false });
    const full = waitHangup(a, { halfClose: false });
    await expect(waitHangup(a, { halfClose: false, timeoutMs: 30 })).rejects.toMatchObject({ code: "ERR_TIMEOUT" });
    closeFd(b);
    expect(await full).toMatchObject({ hangup: true });
  });

  it("sees the hang-up that QEMU's source waits for: our writing side shut down, then the peer's", async () => {
    const [a, b] = pair();
    shutdownSocket(a, "write");
    expect(readiness(a)).toMatchObject({ hangup: false, peerShutdown: false });
    const hangup = waitHangup(a, { halfClose: false });
    shutdownSocket(b, "write");
    expect(await hangup).toMatchObject({ hangup: true });
  });

  it("ends at its timeout and on abort, with the reason, and can wait again", async () => {
    before = openFds();
    const [a, b] = pair();
    await expect(waitReadable(a, { timeoutMs: 10 })).rejects.toMatchObject({
      code: "ERR_TIMEOUT",
      message: `fd ${a} was not readable within 10 ms`,
    });
    const abort = new AbortController();
    const waiting = waitReadable(a, { signal: abort.signal, timeoutMs: 10_000 });
    const other = waitReadable(a);
    abort.abort(new Error("enough"));
    await expect(waiting).rejects.toMatchObject({ code: "ERR_ABORTED", cause: new Error("enough") });
    await expect(waitReadable(a, { signal: abort.signal })).rejects.toMatchObject({ code: "ERR_ABORTED" });
    sendFds(b, byte, []);
    expect(await other).toMatchObject({ readable: true });
  });

  it("with 0 ms looks and does not wait, with Infinity waits without limit", async () => {
    before = openFds();
    const [a, b] = pair();
    await expect(waitReadable(a, { timeoutMs: 0 })).rejects.toMatchObject({ code: "ERR_TIMEOUT" });
    const unlimited = waitReadable(a, { timeoutMs: Number.POSITIVE_INFINITY });
    const long = waitReadable(a, { timeoutMs: 2 ** 31 });
    setTimeout(() => sendFds(b, byte, []), 20);
    expect(await Promise.all([unlimited, long])).toMatchObject([{ readable: true }, { readable: true }]);
    expect(await waitReadable(a, { timeoutMs: 0 })).toMatchObject({ readable: true });
    const listener = listenUnix(join(mkdtempSync(join(tmpdir(), "cprkit-zero-")), "s"));
    await expect(acceptUnix(listener.fd, { timeoutMs: 0 })).rejects.toMatchObject({ code: "ERR_TIMEOUT" });
    opened.push(await connectUnix(listener.path, { timeoutMs: 0 }));
    opened.push(await acceptUnix(listener.fd, { timeoutMs: 0 }));
    listener.close();
    const absent = connectUnix(listener.path, { timeoutMs: 0, waitForListener: true });
    await expect(absent).rejects.toMatchObject({ code: "ERR_TIMEOUT" });
    rmSync(dirname(listener.path), { recursive: true });
  });

  it("refuses what is not an open fd, and a negative time limit", async () => {
    const closed = createEventfd();
    closeFd(closed);
    await expect(waitReadable(closed)).rejects.toMatchObject({ code: "ERR_FD_INVALID" });
    await expect(waitReadable(-1)).rejects.toMatchObject({ code: "ERR_FD_INVALID" });
    await expect(waitReadable(2 ** 40)).rejects.toMatchObject({ code: "ERR_FD_INVALID" });
    for (const timeoutMs of [Number.NaN, -1]) {
      await expect(waitReadable(0, { timeoutMs })).rejects.toMatchObject({ code: "ERR_VALUE" });
      await expect(connectUnix("/x", { timeoutMs })).rejects.toMatchObject({ code: "ERR_VALUE" });
    }
  });

  it("finds a file always ready, and says that it never hangs up", async () => {
    before = openFds();
    const memfd = createMemfd("x");
    opened.push(memfd);
    expect(await waitReadable(memfd)).toMatchObject({ readable: true });
    await expect(waitHangup(memfd)).rejects.toMatchObject({ code: "ERR_SYSCALL", errno: "EPERM" });
  });

  it("ends with ERR_ABORTED when the fd is closed with closeFd", async () => {
    before = openFds();
    const [a] = pair();
    const waiting = waitReadable(a);
    closeFd(a);
    await expect(waiting).rejects.toMatchObject({ code: "ERR_ABORTED" });
  });

  it("is not misled by an fd that was closed behind its back while a copy lives on", async () => {
    before = openFds();
    const [quiet] = pair();
    const abort = new AbortController();
    const others = waitReadable(quiet, { signal: abort.signal });
    const [a, b] = pair();
    opened.push(dupFd(a));
    const lost = waitReadable(a, { signal: abort.signal });
    closeSync(a);
    const [c, d] = pair();
    expect(c).toBe(a);
    // The closed file is readable; the file that has its number now is not.
    sendFds(b, byte, []);
    let isReady = false;
    const waiting = waitReadable(c).then((seen) => {
      isReady = seen.readable;
    });
    const [cpu, start] = [process.cpuUsage(), performance.now()];
    await new Promise((done) => setTimeout(done, 200));
    const { user, system } = process.cpuUsage(cpu);
    expect(isReady).toBe(false);
    // Nor does it spin on it: most of the time passes without work.
    expect((user + system) / 1000).toBeLessThan((performance.now() - start) / 2);
    sendFds(d, byte, []);
    await waiting;
    expect(isReady).toBe(true);
    await lost;
    abort.abort();
    await expect(others).rejects.toMatchObject({ code: "ERR_ABORTED" });
  });

  it("waits for a new file under the number of one that was closed behind its back", async () => {
    before = openFds();
    const [a] = pair();
    const abort = new AbortController();
    const lost = waitReadable(a, { signal: abort.signal });
    closeSync(a);
    const [c, d] = pair();
    expect(c).toBe(a);
    const waiting = waitReadable(c);
    sendFds(d, byte, []);
    // The kernel knows the number only; both wait for what it stands for now.
    expect(await Promise.all([waiting, lost])).toHaveLength(2);
  });

  it("keeps a process alive while a wait is pending, and no longer", async () => {
    expect(await childReport("keep-alive")).toEqual({ woken: true });
  });
});

describe("signals", () => {
  it("are no failure of a look at an fd that is not ready", async () => {
    before = openFds();
    const folder = mkdtempSync(join(tmpdir(), "cprkit-signals-"));
    // Neither readable nor writable: only then does poll(2) tell of a signal.
    const listener = listenUnix(join(folder, "s.sock"));
    let signals = 0;
    const count = () => {
      signals++;
    };
    process.on("SIGUSR2", count);
    const sender = spawn("sh", ["-c", `while kill -USR2 ${process.pid}; do :; done`], { stdio: "ignore" });
    try {
      const end = performance.now() + 10_000;
      // One in twenty was seen to fail.
      while (signals < 2000 && performance.now() < end) {
        for (let look = 0; look < 1000; look++) readiness(listener.fd);
        await new Promise(setImmediate);
      }
      expect(signals).toBeGreaterThan(100);
    } finally {
      sender.kill("SIGKILL");
      await once(sender, "close");
      // Those on their way find a handler.
      await new Promise((resolve) => setTimeout(resolve, 50));
      process.off("SIGUSR2", count);
      listener.close();
      rmSync(folder, { recursive: true });
    }
  });
});

describe("an epoll set that can't be asked", () => {
  it("fails those who wait, who would never be woken", async () => {
    before = openFds();
    const [here, there] = pair();
    const restore = refuse("epollReady");
    try {
      const waiting = waitReadable(here, { timeoutMs: 5_000 });
      sendFds(there, byte, []);
      await expect(waiting).rejects.toThrow(/waiting for fd \d+: epoll_wait failed with EBADF/);
    } finally {
      restore();
    }
    await waitReadable(here, { timeoutMs: 1_000 });
  });
});
