// Started where no file may grow (ulimit -f 0): the state cannot be written to its memfd.
import { execWithCprState } from "../../../dist/channel/index.js";
import { CprState } from "../../../dist/cpr/index.js";
import { createEventfd, listFds } from "../../../dist/linux/index.js";

const state = new CprState();
state.saveFd("event", 0, createEventfd());
const before = listFds();
const report = {};
try {
  execWithCprState(state, process.execPath, [process.execPath]);
} catch (error) {
  Object.assign(report, { code: error.code, message: error.message });
}
report.left = listFds().filter((fd) => !before.includes(fd));
process.stdout.write(JSON.stringify(report));
