import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, lstatSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  acceptUnix,
  checkPeer,
  closeFd,
  connectUnix,
  getNonblock,
  getPeerCredentials,
  isCloseOnExec,
  listeningUnixSockets,
  listenUnix,
  maxSocketPathBytes,
  privateSocketDir,
  receiveFds,
  sendFds,
  setSendBuffer,
  socketPair,
} from "../../src/linux/index.ts";
import { isRoot, nobody } from "../support/other-user.ts";
import { childReport, withoutLeak, withTempDir } from "./support.ts";

/** A test with a folder of its own, after which the same fds are open as before. */
function inFolder(body: (directory: string) => void | Promise<void>): () => Promise<void> {
  return () => withTempDir((directory) => withoutLeak(() => body(directory)));
}

const permissions = (path: string): number => statSync(path).mode & 0o777;

describe("listenUnix", () => {
  it(
    "makes the socket 0600 in a new folder 0700, whatever the umask, and removes it again",
    inFolder((directory) => {
      for (const umask of [0, 0o022, 0o077]) {
        const before = process.umask(umask);
        try {
          const path = join(directory, `new-${umask}`, "cpr.sock");
          const listener = listenUnix(path);
          expect(permissions(path)).toBe(0o600);
          expect(permissions(join(directory, `new-${umask}`))).toBe(0o700);
          expect(listener.path).toBe(path);
          expect(isCloseOnExec(listener.fd) && getNonblock(listener.fd)).toBe(true);
          expect(listeningUnixSockets().map((socket) => socket.path)).toContain(path);
          listener.close();
          listener.close();
          expect(existsSync(path)).toBe(false);
        } finally {
          process.umask(before);
        }
      }
    }),
  );

  it(
    "gives the mode that was asked for also under a narrow umask",
    inFolder((directory) => {
      const before = process.umask(0o077);
      const listener = listenUnix(join(directory, "s"), { mode: 0o660 });
      process.umask(before);
      expect(permissions(listener.path)).toBe(0o660);
      listener.close();
    }),
  );

  it(
    "replaces a socket file that nobody listens on",
    inFolder(async (directory) => {
      const path = join(directory, "stale.sock");
      // Left behind by a process that died.
      const script = `require("node:net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 9))`;
      const child = spawn(process.execPath, ["-e", script], { stdio: "ignore" });
      expect(await once(child, "exit")).toEqual([null, "SIGKILL"]);
      expect(lstatSync(path).isSocket()).toBe(true);
      const listener = listenUnix(path);
      closeFd(await connectUnix(path));
      listener.close();
    }),
  );

  it(
    "refuses a path where somebody listens, without disturbing that process",
    inFolder(async (directory) => {
      const path = join(directory, "busy.sock");
      let connections = 0;
      const server = createServer(() => connections++);
      await new Promise<void>((done) => server.listen(path, done));
      expect(() => listenUnix(path)).toThrow(/another process listens there/);
      // Also through another name of the same file.
      symlinkSync(directory, join(directory, "link"));
      expect(() => listenUnix(join(directory, "link", "busy.sock"))).toThrow(/another process listens there/);
      await new Promise((done) => setTimeout(done, 20));
      expect(connections).toBe(0);
      const client = connect(path);
      await once(client, "connect");
      client.destroy();
      await new Promise((done) => server.close(done));
    }),
  );

  // Root may look and remove everywhere.
  it.runIf(isRoot)(
    "says in one error what a user may not do, and is not stopped by sockets of others",
    inFolder(async (directory) => {
      chmodSync(directory, 0o1777);
      const foreign = join(directory, "foreign.sock");
      const left = listenUnix(foreign, { mode: 0o666 });
      closeFd(left.fd);
      const hidden = listenUnix(join(directory, "hidden", "s"));
      const own = join(directory, "own.sock");
      const report = await childReport("listen-unprivileged", [foreign, own], nobody);
      expect(report).toEqual({
        code: "ERR_FILE",
        message: expect.stringMatching(/foreign\.sock: cannot be removed.*EPERM.*choose another path/),
        replaced: true,
      });
      hidden.close();
    }),
  );

  it(
    "never removes what is no socket",
    inFolder((directory) => {
      const path = join(directory, "file");
      writeFileSync(path, "precious");
      expect(() => listenUnix(path)).toThrow(/another kind of file/);
      expect(lstatSync(path).size).toBe(8);
    }),
  );

  it(
    "does not remove a socket that has taken its place",
    inFolder((directory) => {
      const path = join(directory, "s");
      const first = listenUnix(path);
      execFileSync("rm", [path]);
      const second = listenUnix(path);
      first.close();
      expect(existsSync(path)).toBe(true);
      second.close();
      expect(existsSync(path)).toBe(false);
    }),
  );

  it(
    "says how long a path may be",
    inFolder(async (directory) => {
      const fits = join(directory, "x".repeat(maxSocketPathBytes - directory.length - 1));
      const listener = listenUnix(fits);
      const client = await connectUnix(fits);
      closeFd(client);
      listener.close();
      expect(() => listenUnix(`${fits}x`)).toThrow(/1 to 107 bytes \(the kernel's limit\).*found 108 bytes/);
      await expect(connectUnix(`${fits}x`)).rejects.toMatchObject({ code: "ERR_VALUE" });
      // Bytes, not characters.
      expect(() => listenUnix(`/${"é".repeat(54)}`)).toThrow(/found 109 bytes/);
    }),
  );

  it(
    "requires a private folder when asked to",
    inFolder((directory) => {
      const folder = join(directory, "d");
      expect(privateSocketDir(folder)).toBe(folder);
      expect(permissions(folder)).toBe(0o700);
      listenUnix(join(folder, "s"), { privateDirectory: true }).close();
      chmodSync(folder, 0o750);
      expect(() => listenUnix(join(folder, "s"), { privateDirectory: true })).toThrow(
        /expected a folder of uid \d+ with mode 0700, found uid \d+ and mode 0750.*chmod 700/,
      );
      listenUnix(join(folder, "s")).close();
      writeFileSync(join(directory, "f"), "");
      expect(() => privateSocketDir(join(directory, "f"))).toThrow(/f: /);
    }),
  );
});

describe("acceptUnix and connectUnix", () => {
  it(
    "connect two sockets that do not block and do not survive exec",
    inFolder(async (directory) => {
      const listener = listenUnix(join(directory, "s"));
      const accepting = acceptUnix(listener.fd);
      const client = await connectUnix(listener.path);
      const server = await accepting;
      for (const fd of [client, server]) expect(isCloseOnExec(fd) && getNonblock(fd)).toBe(true);
      sendFds(client, new Uint8Array([5]), []);
      const buffer = new Uint8Array(2);
      expect(receiveFds(server, buffer)).toEqual({ bytesRead: 1, fds: [] });
      expect(getPeerCredentials(server)).toEqual({
        pid: process.pid,
        uid: process.geteuid?.(),
        gid: process.getegid?.(),
      });
      for (const fd of [client, server]) closeFd(fd);
      listener.close();
    }),
  );

  it(
    "give up at the timeout and on abort",
    inFolder(async (directory) => {
      const listener = listenUnix(join(directory, "s"), { backlog: 0 });
      await expect(acceptUnix(listener.fd, { timeoutMs: 10 })).rejects.toMatchObject({ code: "ERR_TIMEOUT" });
      await expect(acceptUnix(listener.fd, { signal: AbortSignal.timeout(10) })).rejects.toMatchObject({
        code: "ERR_ABORTED",
      });
      const first = await connectUnix(listener.path);
      await expect(connectUnix(listener.path, { timeoutMs: 30 })).rejects.toMatchObject({
        code: "ERR_TIMEOUT",
        message: expect.stringContaining("backlog full"),
      });
      await expect(connectUnix(listener.path, { signal: AbortSignal.timeout(10) })).rejects.toMatchObject({
        code: "ERR_ABORTED",
      });
      const connecting = connectUnix(listener.path);
      const served = [await acceptUnix(listener.fd), await connecting, await acceptUnix(listener.fd)];
      for (const fd of [first, ...served]) closeFd(fd);
      listener.close();
    }),
  );

  it(
    "fail at once when nobody listens, or wait for it when asked to",
    inFolder(async (directory) => {
      const path = join(directory, "s");
      await expect(connectUnix(path)).rejects.toMatchObject({ code: "ERR_SYSCALL", errno: "ENOENT" });
      await expect(connectUnix(path, { waitForListener: true, timeoutMs: 10 })).rejects.toMatchObject({
        code: "ERR_TIMEOUT",
        message: expect.stringContaining("nobody listened there"),
      });
      const connecting = connectUnix(path, { waitForListener: true });
      await new Promise((done) => setTimeout(done, 20));
      const listener = listenUnix(path);
      closeFd(await connecting);
      listener.close();
    }),
  );

  it(
    "end when the listener is closed while somebody waits on it",
    inFolder(async (directory) => {
      const listener = listenUnix(join(directory, "s"));
      const accepting = acceptUnix(listener.fd);
      listener.close();
      await expect(accepting).rejects.toMatchObject({ code: "ERR_ABORTED" });
    }),
  );
});

describe("checkPeer", () => {
  it("lets this user through and nobody else", async () => {
    await withoutLeak(() => {
      const [a, b] = socketPair();
      expect(checkPeer(a).pid).toBe(process.pid);
      expect(() => checkPeer(a, { uid: 4711 })).toThrow(/expected a process of uid 4711, found pid \d+ of uid \d+/);
      expect(setSendBuffer(a, 65536)).toBeGreaterThanOrEqual(65536);
      closeFd(a);
      closeFd(b);
    });
  });

  it("refuses another user's process", async (context) => {
    if (!isRoot) {
      context.skip("only root can start a process of another user");
      return;
    }
    await withTempDir((directory) =>
      withoutLeak(async () => {
        chmodSync(directory, 0o755);
        const listener = listenUnix(join(directory, "s"), { mode: 0o666 });
        const script = `const s = require("node:net").connect(${JSON.stringify(listener.path)}); s.on("close", () => process.exit(0)); s.on("error", () => process.exit(1))`;
        const child = spawn(process.execPath, ["-e", script], { ...nobody, cwd: "/", stdio: "ignore" });
        const ended = once(child, "exit");
        const peer = await acceptUnix(listener.fd, { timeoutMs: 20_000 });
        expect(() => checkPeer(peer)).toThrow(/uid 0, found pid \d+ of uid 65534/);
        expect(checkPeer(peer, { uid: 65534 }).pid).toBe(child.pid);
        closeFd(peer);
        expect(await ended).toEqual([0, null]);
        listener.close();
      }),
    );
  });
});
