import { spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, openSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { interpose } from "../../src/linux/ffi/koffi.ts";
import {
  closeFd,
  closeFds,
  compareOpenFiles,
  createEventfd,
  dupFd,
  getFdOf,
  isCloseOnExec,
  isRunning,
  isSameProcess,
  listFds,
  openPidfd,
  processIdentity,
  receiveFds,
  sendFds,
  signalPidfd,
  socketPair,
  waitExit,
} from "../../src/linux/index.ts";
import { isRoot } from "../support/other-user.ts";
import { childReport, withoutLeak, withTempDir } from "./support.ts";

describe("processes", () => {
  it("lists the fds of this process and of another one", async () => {
    const fd = createEventfd();
    expect(listFds()).toContain(fd);
    expect(listFds(process.pid)).toEqual(listFds());
    closeFd(fd);
    expect(listFds()).not.toContain(fd);
    const child = spawn("sleep", ["60"], { stdio: "ignore" });
    await once(child, "spawn");
    expect(listFds(child.pid)).toEqual(expect.arrayContaining([0, 1, 2]));
    child.kill("SIGKILL");
    await once(child, "exit");
    expect(() => listFds(child.pid)).toThrow(/there is no such process/);
    for (const pid of [0, -1, 1.5, Number.NaN]) expect(() => listFds(pid)).toThrow(/expected a positive integer/);
  });

  it("are told apart by their start time, also with a name full of parentheses", async () => {
    await withTempDir(async (directory) => {
      // To a careless reader a zombie that was started at tick 1.
      const program = join(directory, "a) Z 1 (b");
      copyFileSync("/bin/sleep", program);
      const child = spawn(program, ["60"], { stdio: "ignore" });
      await once(child, "spawn");
      const identity = processIdentity(child.pid);
      expect(identity.pid).toBe(child.pid);
      expect(identity.startTime).toBeGreaterThanOrEqual(processIdentity().startTime);
      expect(isSameProcess(identity)).toBe(true);
      expect(isRunning(identity)).toBe(true);
      for (const is of [isSameProcess, isRunning]) expect(is({ ...identity, startTime: 1n })).toBe(false);
      child.kill("SIGKILL");
      await once(child, "exit");
      for (const is of [isSameProcess, isRunning]) expect(is(identity)).toBe(false);
    });
  });

  it("are signalled and waited for through a pidfd, which never reaches another process", async () => {
    await withoutLeak(async () => {
      const child = spawn("sleep", ["60"], { stdio: "ignore" });
      await once(child, "spawn");
      const identity = processIdentity(child.pid);
      const pidfd = openPidfd(identity);
      expect(isCloseOnExec(pidfd)).toBe(true);
      expect(signalPidfd(pidfd, 0)).toBe(true);
      await expect(waitExit(pidfd, { timeoutMs: 20 })).rejects.toMatchObject({ code: "ERR_TIMEOUT" });
      const ended = once(child, "exit");
      expect(signalPidfd(pidfd, "SIGTERM")).toBe(true);
      await waitExit(pidfd);
      expect(await ended).toEqual([null, "SIGTERM"]);
      expect(signalPidfd(pidfd, "SIGKILL")).toBe(false);
      closeFd(pidfd);
      expect(() => openPidfd(identity)).toThrow(expect.objectContaining({ errno: "ESRCH" }));
      expect(() => openPidfd({ pid: process.pid, startTime: 1n })).toThrow(/its pid was taken/);
    });
  });

  it("give a duplicate of any of their fds, the same open file and close-on-exec", async () => {
    await withoutLeak(async () => {
      const [ours, theirs] = socketPair();
      const child = spawn("sleep", ["60"], { stdio: ["ignore", "ignore", "ignore", theirs] });
      await once(child, "spawn");
      const pidfd = openPidfd(processIdentity(child.pid));
      const copy = getFdOf(pidfd, 3);
      expect(isCloseOnExec(copy)).toBe(true);
      expect(compareOpenFiles(copy, theirs)).toBe("same");
      expect(() => getFdOf(pidfd, 700)).toThrow(expect.objectContaining({ code: "ERR_FD_INVALID", errno: "EBADF" }));
      expect(() => getFdOf(pidfd, 2 ** 40)).toThrow(expect.objectContaining({ code: "ERR_FD_INVALID" }));
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
      expect(() => getFdOf(pidfd, 3)).toThrow(expect.objectContaining({ code: "ERR_SYSCALL", errno: "ESRCH" }));
      closeFds([ours, theirs, copy, pidfd]);
    });
  });

  it.runIf(isRoot)("of which an fd can't be had say why: another user's, our own limit, an old kernel", async () => {
    const report = await childReport("getfd-refused", [String(process.pid)], { uid: 65534, gid: 65534 });
    expect(report).toEqual([
      { code: "ERR_SYSCALL", errno: "EPERM", says: true },
      { code: "ERR_SYSCALL", errno: "EMFILE", says: true },
    ]);
    const restore = interpose((real) => ({ ...real, pidfdGetfd: () => -38 }));
    try {
      expect(() => getFdOf(3, 3)).toThrow(/Linux 5\.6/);
    } finally {
      restore();
    }
  });

  it("that are zombies exist, but do not run", async () => {
    // The shell becomes a program that waits for no child; it itself might, as soon as one ends.
    const shell = spawn("sh", ["-c", "sleep 0.2 & echo $!; exec sleep 60"], { stdio: ["ignore", "pipe", "ignore"] });
    const [said] = await once(shell.stdout.setEncoding("utf8"), "data");
    const zombie = processIdentity(Number(said));
    while (isRunning(zombie)) await new Promise((done) => setTimeout(done, 5));
    expect(isSameProcess(zombie)).toBe(true);
    shell.kill();
    await once(shell, "exit");
  });

  it("leave no pidfd open when their identity cannot be looked up", async () => {
    expect(await childReport("pidfd-at-limit")).toEqual({ code: "ERR_SYSCALL", errno: "EMFILE", left: [] });
  });
});

describe("compareOpenFiles", () => {
  it("tells the same open file from the same file opened twice", async () => {
    await withoutLeak(() => {
      const [a, b] = [openSync("/dev/null", "r"), openSync("/dev/null", "r")];
      const copy = dupFd(a);
      expect(compareOpenFiles(a, copy)).toBe("same");
      expect(compareOpenFiles(a, b)).toBe("different");
      const [left, right] = socketPair();
      const event = createEventfd();
      sendFds(left, new Uint8Array(1), [event]);
      const received = receiveFds(right, new Uint8Array(1));
      if (received === "again") throw new Error("nothing to receive");
      const [arrived = -1] = received.fds;
      expect(compareOpenFiles(event, { pid: process.pid, fd: arrived })).toBe("same");
      const other = createEventfd();
      expect(compareOpenFiles(event, other)).toBe("different");
      closeFds([a, b, copy, left, right, event, arrived, other]);
    });
  });
});
