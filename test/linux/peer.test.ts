// Which process is behind a socket: the one that is meant, and no other one with its number.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { constants } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { interpose } from "../../src/linux/ffi/koffi.ts";
import type { Libc } from "../../src/linux/ffi/libc.ts";
import {
  checkPeer,
  closeFd,
  closeFds,
  connectUnix,
  holdPeer,
  listenUnix,
  processIdentity,
  socketPair,
} from "../../src/linux/index.ts";
import { repoRoot } from "../support/cli.ts";
import { isRoot } from "../support/other-user.ts";
import { withoutLeak, withTempDir } from "./support.ts";

const { ENOPROTOOPT, ENOSYS } = constants.errno;

/** Each as the kernel of its time answers. */
const kernels: readonly (readonly [name: string, answers: (real: Libc) => Partial<Libc>])[] = [
  ["this kernel", () => ({})],
  ["Linux before 6.5", (real) => ({ getsockopt: withoutPeerPidfd(real) })],
  ["without pidfds", (real) => ({ getsockopt: withoutPeerPidfd(real), pidfdOpen: () => -ENOSYS })],
];

function withoutPeerPidfd(real: Libc): Libc["getsockopt"] {
  return (fd, level, option, value) => (option === 77 ? -ENOPROTOOPT : real.getsockopt(fd, level, option, value));
}

describe.each(kernels)("%s", (_, answers) => {
  it("tells a peer from a process with its number that started at another time", () =>
    withoutLeak(async () => {
      const restore = interpose((real) => ({ ...real, ...answers(real) }));
      const pair = socketPair();
      try {
        const own = processIdentity("self");
        const other = processIdentity(process.ppid);
        expect(checkPeer(pair[0], { process: own }).pid).toBe(process.pid);
        const refused = { code: "ERR_PEER_CREDENTIALS" };
        for (const wrong of [other, { ...own, startTime: own.startTime - 1n }]) {
          expect(() => checkPeer(pair[0], { process: wrong })).toThrow(expect.objectContaining(refused));
        }
        expect(() => checkPeer(pair[0], { process: other })).toThrow(
          `expected process ${other.pid}, found process ${own.pid}; a wrapper must become its program`,
        );
      } finally {
        closeFds(pair);
        restore();
      }
    }));

  it("knows that a peer has ended, although somebody else still serves its socket", () =>
    withTempDir((directory) =>
      withoutLeak(async () => {
        const path = join(directory, "s");
        // The child of the one that listens inherits the socket, and lives on.
        const script = `const { spawn } = require("node:child_process");
          const server = require("node:net").createServer().listen(process.argv[1], () => {
            const heir = spawn("sleep", ["60"], { stdio: ["ignore", "ignore", "ignore", server._handle.fd] });
            console.log(heir.pid);
          });`;
        const child = spawn(process.execPath, ["-e", script, path], { stdio: ["ignore", "pipe", "inherit"] });
        const heir = Number(String((await once(child.stdout, "data"))[0]));
        const restore = interpose((real) => ({ ...real, ...answers(real) }));
        try {
          const identity = processIdentity(child.pid ?? 0);
          const socket = await connectUnix(path);
          const held = holdPeer(socket);
          try {
            expect(held.process).toEqual(identity);
            expect(held.is(identity)).toBe(true);
            const ended = once(child, "exit");
            child.kill("SIGKILL");
            await ended;
            expect(held.is(identity)).toBe(false);
            const later = await connectUnix(path);
            expect(() => checkPeer(later, { process: identity })).toThrow(
              `expected process ${identity.pid}, found process ${identity.pid}, which has ended`,
            );
            closeFd(later);
          } finally {
            held.close();
            closeFd(socket);
          }
        } finally {
          restore();
          child.kill("SIGKILL");
          process.kill(heir, "SIGKILL");
        }
      }),
    ));
});

if (!isRoot) console.warn("skipped: a peer of another pid namespace: only root makes one without a user namespace");
it.runIf(isRoot)(
  "a peer of a pid namespace that can't be seen from here has no number, and is nobody that is meant",
  () =>
    withTempDir(async (directory) => {
      const listener = listenUnix(join(directory, "s"), { backlog: 5 });
      const module = join(repoRoot, "dist/linux/index.js");
      const script = `const { checkPeer, connectUnix, holdPeer } = await import(${JSON.stringify(module)});
      const socket = await connectUnix(${JSON.stringify(listener.path)});
      const { credentials, process: seen } = holdPeer(socket);
      let text;
      try { checkPeer(socket, { process: { pid: 1, startTime: 1n } }); } catch (error) { text = error.message; }
      console.log(JSON.stringify({ pid: credentials.pid, seen: seen ?? null, text }));`;
      const node = [process.execPath, "--input-type=module", "-e", script];
      const { stdout, stderr } = spawnSync("unshare", ["--pid", "--fork", "--mount-proc", ...node], {
        encoding: "utf8",
      });
      listener.close();
      expect(stderr).toBe("");
      expect(JSON.parse(stdout)).toEqual({
        pid: 0,
        seen: null,
        text: expect.stringContaining("expected process 1, found one of another pid namespace (pid 0)"),
      });
    }),
);
