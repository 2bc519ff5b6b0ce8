// The new process of the demo: takes the state up, finds every fd under its key, and closes all when it is told to.
// Started as: node new-process.js --demo-process SOCKET COUNT

import { receiveCprState } from "../../channel/index.ts";
import { loadCprState } from "../../cpr/index.ts";
import { closeFds, listFds } from "../../linux/index.ts";
import type { ChildMessage } from "./messages.ts";
import { realisticKeys } from "./names.ts";
import { holdsItsKey } from "./open-files.ts";

void main();

/** A function, for the single file holds this as a script, in which nothing can be awaited at the top. */
async function main(): Promise<void> {
  const [socketPath = "", count = "0"] = process.argv.slice(-2);
  const keys = realisticKeys(Number(count));
  // One wait before counting: what the event loop opens for it is no leak.
  await new Promise((resolve) => setTimeout(resolve, 1));
  const openBefore = new Set(listFds());

  const receiving = receiveCprState(socketPath);
  tell({ event: "listening" });
  const { state, bytes, hangUp } = await receiving;
  hangUp();

  const loadStart = performance.now();
  loadCprState({ bytes });
  const loadMs = performance.now() - loadStart;
  const fds = new Array<number>(keys.length);
  const findStart = process.hrtime.bigint();
  for (let at = 0; at < keys.length; at++) {
    const { name, id } = keys[at] as (typeof keys)[number];
    fds[at] = state.findFd(name, id);
  }
  const findNs = Number(process.hrtime.bigint() - findStart);
  const wrong = keys.filter((key, at) => (fds[at] as number) < 0 || !holdsItsKey(key, at, fds[at] as number)).length;
  tell({ event: "loaded", fds, wrong, loadMs, findNs });

  process.once("message", () => {
    closeFds(state.entries().map(({ fd }) => fd));
    tell({ event: "closed", leaked: listFds().filter((fd) => !openBefore.has(fd)).length });
    process.disconnect();
  });
}

function tell(message: ChildMessage): void {
  process.send?.(message);
}
