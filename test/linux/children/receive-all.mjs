// Receives fds on fd 3 until the end of the stream; each must be one of 30 memfds in turn, by its content.
import { readSync } from "node:fs";
import { closeFds, isCloseOnExec, listFds, receiveFds, waitReadable } from "../../../dist/linux/index.js";

const before = listFds().length;
const fds = [];
const buffer = new Uint8Array(1);
for (;;) {
  const received = receiveFds(3, buffer);
  if (received === "again") await waitReadable(3);
  else if (received.bytesRead === 0) break;
  else for (const fd of received.fds) fds.push(fd);
}
const text = Buffer.alloc(16);
const right = fds.filter((fd, i) => text.toString("utf8", 0, readSync(fd, text, 0, 16, 0)) === `file ${i % 30}`);
const allCloseOnExec = fds.every(isCloseOnExec);
closeFds(fds);
const leaked = listFds().length - before;
process.stdout.write(JSON.stringify({ received: fds.length, right: right.length, allCloseOnExec, leaked }));
