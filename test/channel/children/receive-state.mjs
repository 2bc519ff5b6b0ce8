// The new process: receives fds, checks each, hangs up.
import { receiveCprState } from "../../../dist/channel/index.js";
import { closeFds, listFds } from "../../../dist/linux/index.js";
import { checkFdSet, leaked } from "./fd-set.mjs";
import { done, next, options, tell } from "./ipc.mjs";

const { path, count } = options;
const before = listFds();
const { state, abi, peer, hangUp } = await receiveCprState(path, { connectTimeoutMs: 20_000 });
const report = checkFdSet(state, count);
hangUp();
tell({ ...report, abi, peerPid: peer.pid, leaked: leaked(before, state), entries: state.entries() });
await next();
closeFds(state.entries().map(({ fd }) => fd));
tell({ leaked: leaked(before) });
done();
