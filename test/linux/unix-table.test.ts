// Nobody can make cprkit believe in a UNIX socket by the name that they give to another one.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, fstatSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { interpose } from "../../src/linux/ffi/koffi.ts";
import {
  acceptUnix,
  closeFds,
  connectUnix,
  listeningUnixSockets,
  listenUnix,
  socketPair,
} from "../../src/linux/index.ts";
import { parseUnixTable, unixSockets } from "../../src/linux/socket/unix-table.ts";
import { readSockets } from "../../src/qemu/fds/sockets.ts";
import { withoutLeak, withTempDir } from "./support.ts";

/** What comes after a line feed in a name and looks like a line of /proc/net/unix. */
const forged = (inode: number, path: string) => `0: 00000002 00000000 00010000 0001 01 ${inode} ${path}`;

/** Runs `body` while a process of its own listens on a socket with this name, relative to `cwd`. */
async function withListener(cwd: string, name: string, body: () => void): Promise<void> {
  mkdirSync(dirname(join(cwd, name)), { recursive: true });
  const script = 'require("node:net").createServer().listen(process.argv[1], () => console.log("listening"));';
  const child = spawn(process.execPath, ["-e", script, name], { cwd, stdio: ["ignore", "pipe", "inherit"] });
  try {
    await once(child.stdout, "data");
    body();
  } finally {
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }
}

describe("a socket whose name holds a line of /proc/net/unix", () => {
  it("makes no other socket of it, and does not keep anybody from listening", () =>
    withTempDir((directory) =>
      withoutLeak(async () => {
        const path = join(directory, "vm.qmp");
        // Left behind by a listener that was killed.
        await withListener(directory, "vm.qmp", () => undefined);
        expect(existsSync(path)).toBe(true);
        const name = `x\n${forged(4711, path)}`;
        await withListener(directory, name, () => {
          const listening = listeningUnixSockets();
          expect(listening.map((socket) => socket.path)).toContain(name);
          expect(listening.map((socket) => socket.path)).not.toContain(path);
          expect(listening.map((socket) => socket.inode)).not.toContain(4711);
          listenUnix(path).close();
        });
      }),
    ));

  it("says nothing of another process's socket", () =>
    withTempDir((directory) =>
      withoutLeak(async () => {
        const pair = socketPair();
        const { ino } = fstatSync(pair[0]);
        await withListener(directory, `x\n${forged(ino, "/run/vm.qmp")}`, () => {
          expect(readSockets(process.pid, [ino]).get(ino)?.what).toBe("UNIX socket, connected");
        });
        closeFds(pair);
      }),
    ));

  it("puts an inode in doubt where the kernel has no sock_diag, and hides nothing else", () =>
    withTempDir((directory) =>
      withoutLeak(async () => {
        const [pair, listener] = [socketPair(), listenUnix(join(directory, "real"))];
        const { ino } = fstatSync(pair[0]);
        await withListener(directory, `x\n${forged(ino, "/run/vm.qmp")}`, () => {
          const restore = interpose((real) => ({ ...real, sendmsg: () => -2 }));
          try {
            const inodes = new Map(unixSockets().map((socket) => [socket.inode, socket]));
            expect(inodes.has(ino)).toBe(false);
            expect(inodes.get(fstatSync(pair[1]).ino)).toMatchObject({ state: "connected" });
            expect(inodes.get(fstatSync(listener.fd).ino)).toMatchObject({ state: "listening", name: listener.path });
          } finally {
            restore();
          }
        });
        closeFds(pair);
        listener.close();
      }),
    ));
});

it("sock_diag and /proc/net/unix tell the same", () =>
  withTempDir((directory) => {
    const [pair, listener] = [socketPair(), listenUnix(join(directory, "a b"))];
    const own = new Set([...pair, listener.fd].map((fd) => fstatSync(fd).ino));
    const ownOf = (sockets: ReturnType<typeof unixSockets>) =>
      sockets
        .filter(({ inode }) => own.has(inode))
        .map(({ inode, state, name }) => ({ inode, state, name }))
        .sort((a, b) => a.inode - b.inode);
    const asked = ownOf(unixSockets());
    const restore = interpose((real) => ({
      ...real,
      recvmsg: () => ({ result: -2, fds: [], controlTruncated: false }),
    }));
    try {
      expect(ownOf(unixSockets())).toEqual(asked);
    } finally {
      restore();
    }
    expect(asked).toHaveLength(3);
    closeFds(pair);
    listener.close();
  }));

it("sock_diag tells who waits to be accepted, in their order, and whose the other end is", () =>
  withTempDir(async (directory) => {
    const listener = listenUnix(join(directory, "queue"));
    const inodeOf = (fd: number) => fstatSync(fd).ino;
    const find = (fd: number) => unixSockets().find(({ inode }) => inode === inodeOf(fd));
    const [first, second] = [await connectUnix(listener.path), await connectUnix(listener.path)];
    expect(find(listener.fd)?.waiting).toEqual([first, second].map(inodeOf));
    expect(find(first)?.peer).toBe(0);
    const accepted = await acceptUnix(listener.fd);
    expect(find(listener.fd)?.waiting).toEqual([inodeOf(second)]);
    expect(find(first)?.peer).toBe(inodeOf(accepted));
    expect(find(accepted)?.peer).toBe(inodeOf(first));
    closeFds([first, second, accepted]);
    listener.close();
  }));

it("parses only lines as the kernel writes them", () => {
  const text = `Num\n${"0".repeat(16)}: 00000002 00000000 00010000 0001 01    12 @a\n1: 2 3 00010000 1 01 13 /b\nx\n`;
  expect(parseUnixTable(text)).toEqual([{ inode: 12, state: "listening", name: "@a" }]);
});
