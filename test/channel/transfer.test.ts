// From process to process: all fds arrive, each is the same open file, and neither side keeps one too many.

import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { FdEntry } from "../../src/cpr/index.ts";
import { compareOpenFiles } from "../../src/linux/index.ts";
import { startChild, tooFewFds, withTempDir } from "./support.ts";

const count = 7530;
const reason = tooFewFds(count);
if (reason !== undefined) console.warn(`skipped: ${count} fds between processes: ${reason}`);
const nothingLeaked = { surplus: [], lost: [] };

interface Sent {
  readonly fds: number;
  readonly messages: number;
  readonly peerPid: number;
  readonly sendMs: number;
  readonly leaked: unknown;
  readonly entries: FdEntry[];
}

interface Received {
  readonly entries: FdEntry[];
  readonly leaked: unknown;
}

describe.skipIf(reason !== undefined)(`${count} fds between two processes [${reason ?? "real fds"}]`, () => {
  for (const fdsPerMessage of [16, 253]) {
    it(`${fdsPerMessage} a message`, () =>
      withTempDir(async (directory) => {
        const path = join(directory, "cpr.sock");
        const receiver = startChild("receive-state", { path, count });
        const sender = startChild("send-state", { path, count, fdsPerMessage });
        try {
          const { entries: received, leaked, ...report } = await receiver.next<Received>();
          expect(report).toEqual({
            size: count,
            found: count,
            right: count,
            closeOnExec: count,
            abi: "list",
            peerPid: sender.pid,
          });
          expect(leaked).toEqual(nothingLeaked);
          const sent = await sender.next<Sent>();
          expect(sent).toMatchObject({ fds: count, messages: Math.ceil(count / fdsPerMessage) + 1 });
          expect(sent).toMatchObject({ peerPid: receiver.pid, leaked: nothingLeaked });

          // The kernel's own word: the same open file description in both processes.
          const here = new Map(received.map(({ name, id, fd }) => [`${name} ${id}`, fd]));
          const verdicts = new Map<string, number>();
          for (const { name, id, fd } of sent.entries) {
            const other = here.get(`${name} ${id}`) ?? -1;
            const verdict = compareOpenFiles({ pid: sender.pid, fd }, { pid: receiver.pid, fd: other });
            verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + 1);
          }
          // Without kcmp the kernel leaves device and inode to compare.
          expect([...verdicts.values()]).toEqual([count]);
          expect(verdicts.has("different")).toBe(false);

          receiver.tell("close");
          expect(await receiver.next()).toEqual({ leaked: nothingLeaked });
          sender.tell("close");
          expect(await sender.next()).toEqual({ leaked: nothingLeaked });
          expect(await Promise.all([sender.exited, receiver.exited])).toEqual([0, 0]);
        } finally {
          await Promise.all([sender.kill(), receiver.kill()]);
        }
      }));
  }
});
