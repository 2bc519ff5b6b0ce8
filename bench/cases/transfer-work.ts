// Fds from one process to another: memfds, as many a message as asked for, with their stream's bytes. As in the C peer
// the time runs from the first send to the receiver's answer that it has all; writing the state is not in it.

import { fork } from "node:child_process";
import { once } from "node:events";
import { fstatSync, rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cutMessages, sendMessages } from "cprkit/channel";
import { CprState, saveCprState } from "cprkit/cpr";
import {
  closeFd,
  closeFds,
  connectUnix,
  createMemfd,
  raiseNofileLimit,
  receiveFds,
  setSendBuffer,
  shutdownSocket,
  waitHangup,
  waitReadable,
} from "cprkit/linux";
import { benchKeys } from "./keys.ts";
import type { Work } from "./measured.ts";

export async function transferWork(n: number, fdsPerMessage: number): Promise<Work> {
  raiseNofileLimit();
  const state = new CprState();
  const fds: number[] = [];
  for (const { name, id } of benchKeys(n)) {
    const fd = createMemfd(`bench-${fds.length}`);
    fds.push(fd);
    state.saveFd(name, id, fd);
  }
  const output = saveCprState(state);
  const messages = cutMessages(output, fdsPerMessage);
  const folder = await mkdtemp(join(tmpdir(), "cprkit-bench-"));
  const path = join(folder, "fds.sock");
  const child = fork(fileURLToPath(new URL("./transfer-child.js", import.meta.url)), [path]);
  await once(child, "message");
  child.send(output.fds.map(({ fd }) => fstatSync(fd).ino));
  await once(child, "message");
  const answer = new Uint8Array(4);
  return {
    ops: n,
    bytes: output.bytes.length,
    round: async () => {
      const socket = await connectUnix(path);
      // As sendCprState does.
      setSendBuffer(socket, output.bytes.length);
      await waitReadable(socket);
      receiveFds(socket, answer);
      const start = process.hrtime.bigint();
      await sendMessages(socket, messages);
      shutdownSocket(socket, "write");
      await waitReadable(socket);
      const received = receiveFds(socket, answer);
      const ns = Number(process.hrtime.bigint() - start);
      if (received === "again" || received.bytesRead !== answer.length) throw new Error("the receiver gave up");
      // It compares and closes them now.
      await waitHangup(socket);
      closeFd(socket);
      return { ns, check: new DataView(answer.buffer).getUint32(0) };
    },
    close: () => {
      closeFds(fds);
      child.disconnect();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
