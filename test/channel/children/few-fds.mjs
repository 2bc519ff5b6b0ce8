// With a low RLIMIT_NOFILE, hard limit and all: as the receiver of more fds than it may have open, or as the sender of
// more than this unprivileged user may have in flight.
import { receiveCprState, sendCprState } from "../../../dist/channel/index.js";
import { CprState } from "../../../dist/cpr/index.js";
import { createEventfd, listFds, readiness, setNofileLimit } from "../../../dist/linux/index.js";
import { leaked } from "./fd-set.mjs";
import { done, next, options, tell } from "./ipc.mjs";

const { path, role, limit, count, timeoutMs } = options;
const fd = createEventfd();
// Opens what koffi and libuv open at first use.
readiness(fd);
setNofileLimit({ soft: limit, hard: limit });
const before = listFds();
const report = {};
try {
  if (role === "receiver") {
    await receiveCprState(path, { connectTimeoutMs: 20_000 });
  } else {
    // One file under many keys: each key is an fd in flight.
    const state = new CprState();
    for (let id = 0; id < count; id++) state.saveFd("same file", id, fd);
    const sent = await sendCprState(path, state, { waitForListener: true, timeoutMs, peerUid: 0 });
    report.sent = sent.fds;
    await sent.hungUp();
  }
} catch (error) {
  Object.assign(report, { code: error.code, errno: error.errno, message: error.message });
}
tell({ ...report, leaked: leaked(before) });
await next();
done();
