// Nothing but the wait keeps this process alive; another process ends it after a while.
import { spawn } from "node:child_process";
import { closeFd, socketPair, waitReadable } from "../../../dist/linux/index.js";

const [a, b] = socketPair();
const child = spawn(process.execPath, ["-e", "setTimeout(() => process.exit(0), 100)"], {
  stdio: ["ignore", "ignore", "ignore", b],
});
child.unref();
closeFd(b);
const seen = await waitReadable(a);
process.stdout.write(JSON.stringify({ woken: seen.hangup || seen.readable }));
