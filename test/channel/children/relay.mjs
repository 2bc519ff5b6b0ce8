// The new process of an old QEMU, then the old process of a new one: receives a state, has it alone for a while, sends
// it as a stream of its own making, and hangs up on the first when the second has hung up on it.
import { receiveCprState, sendCprState } from "../../../dist/channel/index.js";
import { CprState } from "../../../dist/cpr/index.js";
import { closeFds, describeFd, isCloseOnExec, listFds } from "../../../dist/linux/index.js";
import { leaked } from "./fd-set.mjs";
import { done, next, options, tell } from "./ipc.mjs";

const { listen, connect, fdsPerMessage, hold = false } = options;
const before = listFds();
const received = await receiveCprState(listen, { connectTimeoutMs: 20_000 });
const entries = received.state.entries();
tell(entries.map((entry) => ({ ...entry, what: describeFd(entry.fd), closeOnExec: isCloseOnExec(entry.fd) })));
await next();

// A state of this process's own, in an order of its own, not the stream that came.
const state = new CprState();
for (const { name, id, fd } of entries) state.saveFd(name, id, fd);
const send = async () => {
  const sent = await sendCprState(connect, state, { fdsPerMessage });
  tell({ bytes: sent.bytes, fds: sent.fds, messages: sent.messages });
  await sent.hungUp();
};
if (hold) {
  // The first process is told only when the test says so, whatever became of the second.
  await send().catch((error) => tell({ error: error.code }));
  await next();
} else await send();
received.hangUp();
closeFds(entries.map(({ fd }) => fd));
tell({ leaked: leaked(before) });
done();
