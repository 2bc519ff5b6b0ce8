// One process hands its open files to another, which finds them by name. Run without arguments: it starts the second
// process itself. Run: npm run build && node examples/hand-over.mjs

import { spawn } from "node:child_process";
import { mkdtempSync, readSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { CprState, receiveCprState, sendCprState } from "cprkit";
import { closeFd, createMemfd } from "cprkit/linux";

const [socket] = process.argv.slice(2);
if (socket === undefined) await oldProcess();
else await newProcess(socket);

async function oldProcess() {
  const folder = mkdtempSync(join(tmpdir(), "cprkit-example-"));
  const path = join(folder, "cpr.sock");
  const successor = spawn(process.execPath, [fileURLToPath(import.meta.url), path], { stdio: "inherit" });

  const memory = createMemfd("memory");
  writeSync(memory, "what must not be lost");
  const state = new CprState();
  state.saveFd("memory", 0, memory);

  const sent = await sendCprState(path, state, { waitForListener: true });
  await sent.hungUp();
  console.log(`old: ${sent.fds} fd in ${sent.bytes} bytes handed to process ${successor.pid}`);
  closeFd(memory);
  rmSync(folder, { recursive: true });
}

/** @param {string} path */
async function newProcess(path) {
  const { state, hangUp } = await receiveCprState(path);
  const memory = state.findFd("memory", 0);
  const buffer = Buffer.alloc(64);
  const length = readSync(memory, buffer, 0, buffer.length, 0);
  console.log(`new: found "${buffer.toString("utf8", 0, length)}"`);
  hangUp();
}
