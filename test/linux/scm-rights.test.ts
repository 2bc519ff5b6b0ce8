import { spawn } from "node:child_process";
import { readSync, writeSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import {
  closeFd,
  closeFds,
  compareOpenFiles,
  createEventfd,
  createMemfd,
  isCloseOnExec,
  isOpen,
  type Received,
  receiveFds,
  sendFds,
  setCloseOnExec,
  setSendBuffer,
  socketPair,
  waitReadable,
  waitWritable,
} from "../../src/linux/index.ts";
import { isCprkitError } from "../../src/vmstate/error.ts";
import { isRoot, nobody } from "../support/other-user.ts";
import { childReport, openFds, runChild, withoutLeak } from "./support.ts";

const opened: number[] = [];

function own<T extends number | readonly number[]>(fds: T): T {
  opened.push(...[fds].flat());
  return fds;
}

afterEach(() => {
  closeFds(opened.splice(0).filter(isOpen));
});

function take(socket: number, size = 1024, maxFds?: number): Received {
  const received = receiveFds(socket, new Uint8Array(size), maxFds === undefined ? {} : { maxFds });
  if (received === "again") throw new Error("nothing to receive");
  own(received.fds);
  return received;
}

function codeOf(body: () => unknown): { code: string; message: string } {
  try {
    body();
  } catch (error) {
    if (isCprkitError(error)) return { code: error.code, message: error.message };
    throw error;
  }
  throw new Error("expected a CprkitError");
}

describe("sendFds and receiveFds", () => {
  it.each([1, 2, 16, 253])("carry %i fds in one message, in order and close-on-exec", (count) => {
    const [a, b] = own(socketPair());
    const fds = own(Array.from({ length: count }, () => createEventfd({ closeOnExec: false })));
    const bytes = new TextEncoder().encode("state");
    expect(sendFds(a, bytes, fds)).toBe(5);
    const buffer = new Uint8Array(16);
    const received = receiveFds(b, buffer);
    if (received === "again") throw new Error("nothing to receive");
    own(received.fds);
    expect(received.bytesRead).toBe(5);
    expect(buffer.subarray(0, 5)).toEqual(bytes);
    expect(received.fds).toHaveLength(count);
    for (const [i, fd] of received.fds.entries()) {
      expect(compareOpenFiles(fd, fds[i] ?? -1)).toBe("same");
      expect(isCloseOnExec(fd)).toBe(true);
    }
    // Close-on-exec is of the fd, not of the open file: the sender's are as they were.
    expect(fds.some(isCloseOnExec)).toBe(false);
  });

  it("carry memory: what is written through one fd is read through the other", () => {
    const [a, b] = own(socketPair());
    const memfd = own(createMemfd("pc.ram", { size: 4096 }));
    writeSync(memfd, "guest", 100);
    sendFds(a, new Uint8Array(1), [memfd]);
    const [copy = -1] = take(b).fds;
    const text = Buffer.alloc(5);
    expect(readSync(copy, text, 0, 5, 100)).toBe(5);
    expect(text.toString()).toBe("guest");
  });

  it("carry bytes without fds, and report the end of the stream as 0 bytes", () => {
    const [a, b] = own(socketPair());
    expect(sendFds(a, new Uint8Array([1, 2, 3]), [])).toBe(3);
    expect(take(b)).toEqual({ bytesRead: 3, fds: [] });
    expect(receiveFds(b, new Uint8Array(1))).toBe("again");
    closeFd(a);
    expect(take(b)).toEqual({ bytesRead: 0, fds: [] });
  });

  it("read a typed array's own part of a larger buffer, also a very small one", () => {
    const [a, b] = own(socketPair());
    const whole = new Uint8Array([9, 9, 1, 2, 9]);
    expect(sendFds(a, whole.subarray(2, 4), [])).toBe(2);
    const into = new Uint8Array(8);
    expect(receiveFds(b, into.subarray(3, 6))).toEqual({ bytesRead: 2, fds: [] });
    expect([...into]).toEqual([0, 0, 0, 1, 2, 0, 0, 0]);
  });

  it("refuse 254 fds and name the limit; nothing is sent", () => {
    const [a, b] = own(socketPair());
    const fd = own(createEventfd());
    const error = codeOf(() => sendFds(a, new Uint8Array(1), new Array<number>(254).fill(fd)));
    expect(error.code).toBe("ERR_RANGE");
    expect(error.message).toMatch(/at most 253 .* found 254/);
    expect(receiveFds(b, new Uint8Array(1))).toBe("again");
  });

  it("refuse fds without a byte, empty buffers and numbers that are no fds", () => {
    const [a] = own(socketPair());
    expect(codeOf(() => sendFds(a, new Uint8Array(0), [a])).code).toBe("ERR_VALUE");
    expect(codeOf(() => receiveFds(a, new Uint8Array(0))).code).toBe("ERR_VALUE");
    for (const bad of [-1, 0.5, 2 ** 31, 2 ** 40, Number.NaN]) {
      const error = codeOf(() => sendFds(a, new Uint8Array(1), [0, bad]));
      expect(error.code).toBe("ERR_FD_INVALID");
      expect(error.message).toContain("fds[1]");
    }
    expect(codeOf(() => receiveFds(a, new Uint8Array(1), { maxFds: 254 })).code).toBe("ERR_VALUE");
  });

  it("name the fd that is not open, and the socket that is not", () => {
    const [a] = own(socketPair());
    const closed = createEventfd();
    closeFd(closed);
    const error = codeOf(() => sendFds(a, new Uint8Array(1), [a, closed]));
    expect(error).toEqual({
      code: "ERR_FD_INVALID",
      message: `sending 2 fds: fds[1], fd ${closed}, is not open (EBADF); nothing was sent`,
    });
    expect(codeOf(() => sendFds(closed, new Uint8Array(1), [])).message).toContain(`socket ${closed} is not open`);
    expect(codeOf(() => receiveFds(closed, new Uint8Array(1))).code).toBe("ERR_FD_INVALID");
  });

  it("say that the peer is gone, without a SIGPIPE", () => {
    const [a, b] = own(socketPair());
    closeFd(b);
    const error = codeOf(() => sendFds(a, new Uint8Array(1), []));
    expect(error.code).toBe("ERR_PEER");
    expect(error.message).toMatch(/EPIPE .*the peer closed the connection/);
    const [c, d] = own(socketPair());
    sendFds(c, new Uint8Array(1), []);
    closeFd(d);
    expect(codeOf(() => receiveFds(c, new Uint8Array(1))).code).toBe("ERR_PEER");
  });

  it('return "again" and partial counts on a full socket; the fds go with the first byte', () => {
    const [a, b] = own(socketPair());
    setSendBuffer(a, 8192);
    const fd = own(createEventfd());
    const large = new Uint8Array(1 << 20).fill(7);
    const sent = sendFds(a, large, [fd]);
    if (sent === "again") throw new Error("an empty socket takes bytes");
    expect(sent).toBeGreaterThan(0);
    expect(sent).toBeLessThan(large.length);
    while (sendFds(a, large, []) !== "again");
    expect(sendFds(a, new Uint8Array(1), [fd])).toBe("again");
    const first = take(b, 1);
    expect(first.bytesRead).toBe(1);
    expect(first.fds).toHaveLength(1);
    let fds = 0;
    for (;;) {
      const rest = receiveFds(b, new Uint8Array(1 << 20));
      if (rest === "again") break;
      fds += rest.fds.length;
    }
    expect(fds).toBe(0);
  });

  it("close what came and name the limit when the control buffer is too small", async () => {
    const [a, b] = own(socketPair());
    const fds = own(Array.from({ length: 4 }, () => createEventfd()));
    for (const maxFds of [0, 1, 2, 3]) {
      await withoutLeak(() => {
        sendFds(a, new Uint8Array(1), fds);
        const error = codeOf(() => receiveFds(b, new Uint8Array(1), { maxFds }));
        expect(error.code).toBe("ERR_CONTROL_TRUNCATED");
        expect(error.message).toContain(`the ${maxFds} that could be taken`);
        expect(error.message).toContain("maxFds");
      });
    }
    sendFds(a, new Uint8Array(1), fds);
    expect(take(b, 1, 4).fds).toHaveLength(4);
  });

  it("close what came and name RLIMIT_NOFILE when this process has too many fds", async () => {
    expect(await childReport("nofile-truncated")).toEqual({
      code: "ERR_CONTROL_TRUNCATED",
      message: expect.stringMatching(/fds open at once \(RLIMIT_NOFILE\); raise it with `ulimit -n`/),
      leaked: 0,
      // The connection goes on: the next message arrives once there is room.
      nextFds: 3,
    });
  });

  it("say what EMFILE means and how to get out of it", async () => {
    expect(await childReport("emfile")).toEqual({
      code: "ERR_SYSCALL",
      errno: "EMFILE",
      message: expect.stringMatching(/memfd_create failed with EMFILE .*may have \d+ .*raiseNofileLimit\(\)/),
    });
  });

  it("say what ETOOMANYREFS means, and go on once the receiver has drained", async (context) => {
    const { code, stdout, stderr } = await runChild("too-many-refs", [], isRoot ? nobody : {});
    if (code !== 0 && /EACCES|permission denied|Cannot find/i.test(stderr)) {
      context.skip(`an unprivileged user cannot run the build here (${stderr.split("\n")[0]})`);
      return;
    }
    expect(stderr).toBe("");
    expect(JSON.parse(stdout)).toEqual({
      code: "ERR_SYSCALL",
      errno: "ETOOMANYREFS",
      message: expect.stringMatching(/in flight .*CAP_SYS_RESOURCE .*let the receiver take what was sent/),
      sentAfterDraining: 1,
      leaked: 0,
    });
  });

  it("carry 7,530 fds to another process, which finds each to be the same open file", async () => {
    const [a, b] = own(socketPair());
    const count = 7530;
    const files = own(Array.from({ length: 30 }, (_, i) => createMemfd(`ram${i}`)));
    for (const [i, fd] of files.entries()) writeSync(fd, `file ${i}`, 0);
    const script = fileURLToPath(new URL("children/receive-all.mjs", import.meta.url));
    const child = spawn(process.execPath, [script, String(count)], { stdio: ["ignore", "pipe", "inherit", b] });
    let report = "";
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      report += text;
    });
    const ended = new Promise((resolve) => child.on("close", resolve));
    closeFd(b);
    const before = openFds();
    for (let sent = 0; sent < count; ) {
      const batch = Array.from({ length: Math.min(253, count - sent) }, (_, i) => files[(sent + i) % 30] ?? -1);
      if (sendFds(a, new Uint8Array([1]), batch) === "again") await waitWritable(a);
      else sent += batch.length;
    }
    expect(openFds()).toEqual(before);
    closeFd(a);
    expect(await ended).toBe(0);
    expect(JSON.parse(report)).toEqual({ received: count, right: count, allCloseOnExec: true, leaked: 0 });
  });

  it("are only as fast as the peer: a reader waits on the event loop", async () => {
    const [a, b] = own(socketPair());
    setTimeout(() => sendFds(a, new Uint8Array([1]), [a]), 20);
    await waitReadable(b);
    const received = take(b);
    expect(received.fds).toHaveLength(1);
    setCloseOnExec(received.fds[0] ?? -1, false);
  });
});
