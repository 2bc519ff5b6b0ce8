// The new program. Without a state it says how many fds a Node program has open anyway.
import { cprExecVariable, loadCprStateFromExec } from "../../../dist/channel/index.js";
import { closeFds, listFds, readFdLink } from "../../../dist/linux/index.js";
import { checkFdSet } from "./fd-set.mjs";

const [, , count, pid] = process.argv;
const links = () => listFds().map((fd) => readFdLink("self", fd));
const loaded = loadCprStateFromExec();
let report = { loaded: loaded !== undefined };
if (loaded !== undefined) {
  const { state } = loaded;
  const saved = new Set(state.entries().map(({ fd }) => fd));
  report = {
    ...report,
    ...checkFdSet(state, Number(count)),
    samePid: process.pid === Number(pid),
    variable: process.env[cprExecVariable] ?? null,
    isIncoming: state.isIncoming,
    otherMemfds: listFds()
      .filter((fd) => !saved.has(fd))
      .map((fd) => readFdLink("self", fd))
      .filter((link) => link.startsWith("/memfd:")),
    secondLoad: loadCprStateFromExec() ?? null,
  };
  closeFds(saved);
}
process.stdout.write(JSON.stringify({ ...report, open: links().length }));
