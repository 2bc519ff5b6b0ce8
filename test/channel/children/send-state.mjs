// The old process: opens fds, sends them, waits for the hang-up.
import { sendCprState } from "../../../dist/channel/index.js";
import { closeFds, listFds } from "../../../dist/linux/index.js";
import { leaked, openFdSet } from "./fd-set.mjs";
import { done, next, options, tell } from "./ipc.mjs";

const { path, count, fdsPerMessage } = options;
const empty = listFds();
const state = openFdSet(count);
const full = listFds();
const start = performance.now();
const sent = await sendCprState(path, state, { fdsPerMessage, waitForListener: true });
const sendMs = performance.now() - start;
await sent.hungUp();
tell({
  fds: sent.fds,
  messages: sent.messages,
  peerPid: sent.peer.pid,
  sendMs,
  leaked: leaked(full),
  entries: state.entries(),
});
await next();
closeFds(state.entries().map(({ fd }) => fd));
tell({ leaked: leaked(empty) });
done();
