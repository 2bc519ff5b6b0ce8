// Unprivileged: sends more fds than RLIMIT_NOFILE without anybody receiving.
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

const pairs = Array.from({ length: 8 }, () => socketPair());
const fd = createEventfd();
const before = listFds().length;
setNofileLimit({ soft: 300, hard: getNofileLimit().hard });
const report = {};
const used = [];
try {
  for (const [a, b] of pairs) {
    used.push(b);
    sendFds(a, new Uint8Array(1), new Array(253).fill(fd));
  }
} catch (error) {
  Object.assign(report, { code: error.code, errno: error.errno, message: error.message });
}
for (const b of used) {
  const received = receiveFds(b, new Uint8Array(1));
  if (received !== "again") closeFds(received.fds);
}
report.sentAfterDraining = sendFds(pairs[7][0], new Uint8Array(1), [fd]);
report.leaked = listFds().length - before;
process.stdout.write(JSON.stringify(report));
