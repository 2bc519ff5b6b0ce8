// As a user without privileges: ARGV are a socket file of root's in a folder where nobody else may remove it, and one of
// our own that is left over, while somebody listens in a folder that we may not look into.
import { closeFd, connectUnix, listenUnix } from "../../../dist/linux/index.js";

const [foreign, own] = process.argv.slice(2);
const report = {};
try {
  listenUnix(foreign);
} catch (error) {
  Object.assign(report, { code: error.code, message: error.message });
}
const first = listenUnix(own);
// Closed behind the listener's back: its file stays, as after a crash.
closeFd(first.fd);
const second = listenUnix(own);
closeFd(await connectUnix(own));
second.close();
process.stdout.write(JSON.stringify({ ...report, replaced: true }));
