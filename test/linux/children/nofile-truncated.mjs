// Receives 20 fds with room for only 5 more in its fd table, then 3 that fit.
import {
  closeFds,
  createEventfd,
  getNofileLimit,
  listFds,
  receiveFds,
  sendFds,
  setNofileLimit,
  socketPair,
} from "../../../dist/linux/index.js";

const [a, b] = socketPair();
const fds = Array.from({ length: 20 }, () => createEventfd());
sendFds(a, new Uint8Array(1), fds);
sendFds(a, new Uint8Array(1), fds.slice(0, 3));
closeFds(fds);
const before = listFds();
const last = before[before.length - 1] ?? 0;
const free = last + 1 - before.length;
// Fds are numbered below the soft limit.
setNofileLimit({ soft: last + 1 + Math.max(0, 5 - free), hard: getNofileLimit().hard });
fill(before);
const report = {};
try {
  receiveFds(b, new Uint8Array(1));
} catch (error) {
  report.code = error.code;
  report.message = error.message;
}
report.leaked = listFds().length - before.length;
report.nextFds = receiveFds(b, new Uint8Array(1)).fds.length;
process.stdout.write(JSON.stringify(report));

/** Takes the free numbers but for five. */
function fill(open) {
  const limit = getNofileLimit().soft;
  for (let n = limit - open.length - 5; n > 0; n--) before.push(createEventfd());
}
