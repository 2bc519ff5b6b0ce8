// Receives open files over a UNIX socket and closes them all when one that is needed has not come.
// Run: npm run build && node examples/receive-and-close.mjs

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CprState, receiveCprState, sendCprState } from "cprkit";
import { closeFds, createEventfd, createMemfd, listFds } from "cprkit/linux";

/** @param {string} path */
async function send(path) {
  const fds = [createMemfd("memory"), createEventfd(), createEventfd()];
  const state = new CprState();
  for (const [id, fd] of fds.entries()) state.saveFd(id === 0 ? "memory" : "interrupt", id, fd);
  const sent = await sendCprState(path, state, { waitForListener: true });
  await sent.hungUp();
  closeFds(fds);
}

/**
 * With TypeScript, or from Node 24 on, `using received = ...` does what `finally` does here.
 *
 * @param {string} path
 * @param {readonly string[]} names
 */
async function receive(path, names) {
  const received = await receiveCprState(path);
  try {
    const { state } = received;
    console.log(
      "received:",
      state
        .entries()
        .map(({ name, id }) => `${name} ${id}`)
        .join(", "),
    );
    const fds = names.map((name) => {
      const fd = state.findFd(name, 0);
      if (fd < 0) throw new Error(`no fd with the name "${name}" has come`);
      return fd;
    });
    received.hangUp(); // this process is ready: from now on the fds are its own
    return fds;
  } finally {
    received.close(); // nothing after hangUp; on an error it closes every fd that came
  }
}

const folder = mkdtempSync(join(tmpdir(), "cprkit-example-"));
const path = join(folder, "cpr.sock");
console.log("listening at", path); // before the fds are counted: the first line to a pipe makes Node open one of its own
const before = listFds();
const [received] = await Promise.allSettled([receive(path, ["memory", "disk"]), send(path)]);
if (received.status === "rejected") console.log("refused:", received.reason.message);
const left = listFds().filter((fd) => !before.includes(fd));
console.log("fds left open:", left.length);
rmSync(folder, { recursive: true });
