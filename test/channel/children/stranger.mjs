// Another user at the other end: says how many bytes and fds it got, and sends some of its own.
import { chmodSync } from "node:fs";
import { receiveStream, sendMessages } from "../../../dist/channel/index.js";
import { acceptUnix, connectUnix, listenUnix } from "../../../dist/linux/index.js";
import { done, options, tell } from "./ipc.mjs";

const { path, role } = options;
let socket;
if (role === "listen") {
  const listener = listenUnix(path, { mode: 0o777 });
  chmodSync(path, 0o777);
  tell("listening");
  socket = await acceptUnix(listener.fd);
  listener.close();
} else {
  socket = await connectUnix(path, { waitForListener: true });
  await sendMessages(socket, [{ bytes: Buffer.from("QCPR"), fds: [socket] }]);
}
const { bytes, fds } = await receiveStream(socket).catch((error) => ({ bytes: error.code, fds: [] }));
tell({ bytes: bytes.length, fds: fds.length });
done();
