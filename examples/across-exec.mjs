// A process becomes a new program without closing its files: same pid, same fds, found by name again.
// Run: npm run build && node examples/across-exec.mjs

import { fileURLToPath } from "node:url";
import { CprState, execWithCprState, loadCprStateFromExec } from "cprkit";
import { createEventfd, readFdInfo } from "cprkit/linux";

const loaded = loadCprStateFromExec();
if (loaded === undefined) {
  const state = new CprState();
  state.saveFd("counter", 0, createEventfd({ initial: 42 }));
  console.log(`before: process ${process.pid}`);
  execWithCprState(state, process.execPath, [process.execPath, fileURLToPath(import.meta.url)]);
} else {
  const counter = loaded.state.findFd("counter", 0);
  console.log(`after: process ${process.pid}, counter ${readFdInfo("self", counter).eventfdCount}`);
}
