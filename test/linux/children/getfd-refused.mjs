// Asks for an fd of a process of another user, and for one of a process of its own with no number left.
import { spawn } from "node:child_process";
import { getFdOf, getNofileLimit, listFds, openPidfd, setNofileLimit } from "../../../dist/linux/index.js";

const attempt = (act, pattern) => {
  try {
    act();
    return "it went through";
  } catch (error) {
    return { code: error.code, errno: error.errno, says: pattern.test(error.message) };
  }
};
const theirs = openPidfd(Number(process.argv[2]));
const child = spawn("sleep", ["60"], { stdio: "ignore" });
await new Promise((resolve) => child.once("spawn", resolve));
const own = openPidfd(child.pid);
const refused = attempt(() => getFdOf(theirs, 0), /may not trace that one \(EPERM\)/);
const open = listFds();
let free = 0;
while (open.includes(free)) free++;
const limit = getNofileLimit();
setNofileLimit({ soft: free, hard: limit.hard });
const full = attempt(() => getFdOf(own, 0), /ulimit -n/);
setNofileLimit(limit);
child.kill("SIGKILL");
process.stdout.write(JSON.stringify([refused, full]));
