// Opens a pidfd with the last free fd: that it is the right process can then not be looked up.
import { getNofileLimit, listFds, openPidfd, processIdentity, setNofileLimit } from "../../../dist/linux/index.js";

const identity = processIdentity();
const before = listFds();
let free = 0;
while (before.includes(free)) free++;
const limit = getNofileLimit();
setNofileLimit({ soft: free + 1, hard: limit.hard });
const report = {};
try {
  openPidfd(identity);
} catch (error) {
  Object.assign(report, { code: error.code, errno: error.errno });
}
setNofileLimit(limit);
report.left = listFds().filter((fd) => !before.includes(fd));
process.stdout.write(JSON.stringify(report));
