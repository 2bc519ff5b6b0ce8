import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { constants } from "node:os";
import { describe, expect, it } from "vitest";
import {
  asFd,
  closeFd,
  closeFds,
  createEventfd,
  createMemfd,
  describeFd,
  dupFd,
  errnoName,
  getNofileLimit,
  getNonblock,
  isCloseOnExec,
  isFd,
  isOpen,
  listFds,
  raiseNofileLimit,
  readFdInfo,
  readFdLink,
  setCloseOnExec,
  setNofileLimit,
  setNonblock,
  socketPair,
} from "../../src/linux/index.ts";
import { childReport, withoutLeak } from "./support.ts";

const noFds = [
  -1,
  0.9,
  2 ** 31,
  2 ** 32,
  2 ** 40,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  2n ** 40n,
  "3",
  null,
  undefined,
];

describe("asFd", () => {
  it("takes what can be an fd and nothing else", () => {
    for (const fd of [0, 1, 2 ** 31 - 1]) expect(asFd(fd)).toBe(fd);
    for (const bad of noFds) {
      expect(isFd(bad)).toBe(false);
      expect(() => asFd(bad, "fds[3]")).toThrow(/^fds\[3\]: expected an open file descriptor, an integer from 0/);
    }
  });

  it("guards every call: what koffi would cut down to fd 0 is refused", () => {
    for (const bad of noFds) {
      for (const call of [closeFd, isOpen, isCloseOnExec, getNonblock, dupFd, describeFd]) {
        // @ts-expect-error: what an untyped caller might pass
        expect(() => call(bad)).toThrow(expect.objectContaining({ code: "ERR_FD_INVALID" }));
      }
    }
    expect(isOpen(0)).toBe(true);
  });
});

describe("fds", () => {
  it("are closed once, and duplicated close-on-exec from a number on", async () => {
    await withoutLeak(() => {
      const fd = createEventfd();
      const copy = dupFd(fd, 200);
      expect(copy).toBeGreaterThanOrEqual(200);
      expect(isCloseOnExec(copy)).toBe(true);
      closeFd(fd);
      expect(isOpen(fd)).toBe(false);
      expect(() => closeFd(fd)).toThrow(`closing fd ${fd}: close failed with EBADF (Bad file descriptor)`);
      // Tidying up goes on behind a number that is none.
      closeFds([fd, -1, Number.NaN, copy]);
      expect(isOpen(copy)).toBe(false);
    });
  });

  it("have close-on-exec each, and O_NONBLOCK together with their duplicates", async () => {
    await withoutLeak(() => {
      const [a, b] = socketPair();
      const copy = dupFd(a);
      setCloseOnExec(copy, false);
      expect([isCloseOnExec(a), isCloseOnExec(copy)]).toEqual([true, false]);
      setCloseOnExec(copy, true);
      expect(isCloseOnExec(copy)).toBe(true);
      setNonblock(copy, false);
      expect([getNonblock(a), getNonblock(copy), getNonblock(b)]).toEqual([false, false, true]);
      setNonblock(copy, true);
      expect(getNonblock(a)).toBe(true);
      closeFds([a, b, copy]);
    });
  });

  it("of memory hold what is written, in the size asked for", async () => {
    await withoutLeak(() => {
      const fd = createMemfd("pc.ram", { size: 8192 });
      writeSync(fd, "x", 8191);
      const page = Buffer.alloc(8193);
      expect(readSync(fd, page, 0, 8193, 0)).toBe(8192);
      expect(page[8191]).toBe(0x78);
      expect(isCloseOnExec(fd)).toBe(true);
      expect(describeFd(fd)).toBe("memfd:pc.ram");
      expect(readFdLink("self", fd)).toBe("/memfd:pc.ram (deleted)");
      const kept = createMemfd("kept", { closeOnExec: false });
      expect(isCloseOnExec(kept)).toBe(false);
      closeFds([fd, kept]);
      for (const size of [-1, 0.5, Number.NaN]) {
        expect(() => createMemfd("m", { size })).toThrow(/size of memfd m: expected a number of bytes/);
      }
      expect(() => createMemfd("m", { size: Number.MAX_SAFE_INTEGER })).not.toThrow();
      closeFd(Math.max(...listFds().filter((n) => describeFd(n) === "memfd:m")));
      expect(() => createMemfd("x".repeat(250))).toThrow(/memfd_create failed with EINVAL/);
      expect(() => createMemfd("a\0b")).toThrow(expect.objectContaining({ code: "ERR_VALUE" }));
    });
  });

  it("of events count, and show their count", async () => {
    await withoutLeak(() => {
      const fd = createEventfd({ initial: 27 });
      expect(describeFd(fd)).toBe("anon_inode:[eventfd]");
      const info = readFdInfo("self", fd);
      expect(info).toMatchObject({ eventfdCount: 27n, closeOnExec: true, nonblocking: true, position: 0n });
      expect(info.fields.get("flags")).toMatch(/^0[0-7]+$/);
      const counter = Buffer.alloc(8);
      readSync(fd, counter);
      expect(counter.readBigUInt64LE()).toBe(27n);
      const semaphore = createEventfd({ initial: 2, semaphore: true, nonblocking: false, closeOnExec: false });
      readSync(semaphore, counter);
      expect(counter.readBigUInt64LE()).toBe(1n);
      expect(readFdInfo("self", semaphore)).toMatchObject({ closeOnExec: false, nonblocking: false });
      closeFds([fd, semaphore]);
      expect(() => createEventfd({ initial: 2 ** 32 })).toThrow(expect.objectContaining({ code: "ERR_VALUE" }));
    });
  });

  it("of files have a position and no event count", async () => {
    await withoutLeak(() => {
      const fd = openSync("/proc/self/status", "r");
      readSync(fd, Buffer.alloc(10));
      expect(readFdInfo("self", fd).position).toBe(10n);
      expect(readFdInfo(process.pid, fd).eventfdCount).toBeUndefined();
      closeSync(fd);
      expect(() => readFdInfo("self", fd)).toThrow(/no such process or fd/);
    });
  });
});

describe("RLIMIT_NOFILE", () => {
  it("is read, lowered and raised again", async () => {
    const limit = getNofileLimit();
    expect(limit.soft).toBeLessThanOrEqual(limit.hard);
    setNofileLimit({ soft: limit.hard - 1, hard: limit.hard });
    expect(getNofileLimit().soft).toBe(limit.hard - 1);
    expect(raiseNofileLimit()).toEqual({ soft: limit.hard, hard: limit.hard });
    setNofileLimit(limit);
    expect(() => setNofileLimit({ soft: -1, hard: 5 })).toThrow(expect.objectContaining({ code: "ERR_VALUE" }));
    expect(() => setNofileLimit({ soft: 1, hard: 2 ** 40 })).toThrow(
      expect.objectContaining({ code: "ERR_SYSCALL", errno: "EPERM" }),
    );
  });
});

describe("errnoName", () => {
  it("has a name for every number that Node knows, and for one that it does not", () => {
    for (const number of Object.values(constants.errno)) expect(errnoName(number)).toMatch(/^E[A-Z0-9]+$/);
    expect(errnoName(11)).toBe("EAGAIN");
    expect(errnoName(109)).toBe("ETOOMANYREFS");
    expect(errnoName(4711)).toBe("errno 4711");
  });
});

describe("a missing koffi", () => {
  it("is one clear error at the first use, not at the import", async () => {
    expect(await childReport("without-koffi")).toEqual({
      code: "ERR_FFI_UNAVAILABLE",
      message: expect.stringMatching(/npm package koffi.*linux-(x64|arm64).*npm install koffi@/),
      hasCause: true,
    });
  });
});
