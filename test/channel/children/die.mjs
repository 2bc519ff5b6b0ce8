// Dies in the middle of a transfer, as the sender or as the receiver, by SIGKILL.
import { cutMessages, sendMessages } from "../../../dist/channel/index.js";
import { saveCprState } from "../../../dist/cpr/index.js";
import { acceptUnix, connectUnix, listenUnix, receiveFds, waitReadable } from "../../../dist/linux/index.js";
import { openFdSet } from "./fd-set.mjs";
import { options } from "./ipc.mjs";

const { path, role, count } = options;
if (role === "sender") {
  const messages = cutMessages(saveCprState(openFdSet(count)), 16);
  const socket = await connectUnix(path, { waitForListener: true });
  await sendMessages(socket, messages.slice(0, messages.length / 2));
} else {
  const listener = listenUnix(path);
  const socket = await acceptUnix(listener.fd);
  await waitReadable(socket);
  receiveFds(socket, new Uint8Array(100));
}
process.kill(process.pid, "SIGKILL");
