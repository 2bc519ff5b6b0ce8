// Receives fds again and again until its parent is gone: node transfer-child.js SOCKET

import { once } from "node:events";
import { fstatSync } from "node:fs";
import { receiveStream } from "cprkit/channel";
import { acceptUnix, closeFd, closeFds, listenUnix, raiseNofileLimit, sendFds } from "cprkit/linux";
import { z } from "zod";

const [path = ""] = process.argv.slice(2);
raiseNofileLimit();
const listener = listenUnix(path);
process.once("disconnect", () => process.exit(0));
process.send?.("listening");
const inodes = z.array(z.number()).parse((await once(process, "message"))[0]);
process.send?.("ready");
const answer = new Uint8Array(4);
for (;;) {
  const socket = await acceptUnix(listener.fd);
  // The time does not begin before: the C peer's two sides are connected from the start.
  sendFds(socket, answer.subarray(0, 1), []);
  const { fds } = await receiveStream(socket);
  new DataView(answer.buffer).setUint32(0, fds.length);
  sendFds(socket, answer, []);
  const wrong = fds.findIndex(({ fd }, at) => fstatSync(fd).ino !== inodes[at]);
  closeFds(fds.map(({ fd }) => fd));
  closeFd(socket);
  if (wrong >= 0) throw new Error(`fd ${wrong} of ${fds.length} is another file`);
}
