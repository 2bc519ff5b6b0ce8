// After timers, a thread, a socket, a watched file and a child process: every fd that Node opened for itself.
import { spawnSync } from "node:child_process";
import { promises, watch } from "node:fs";
import { createServer } from "node:net";
import { Worker } from "node:worker_threads";
import { isCloseOnExec, listFds, readFdLink, socketPair, waitReadable } from "../../../dist/linux/index.js";

const inherited = new Set((process.env.INHERITED ?? "").split(",").map(Number));
const watcher = watch("/");
const server = createServer().listen(0, "127.0.0.1");
const worker = new Worker("setTimeout(() => {}, 1000)", { eval: true });
await new Promise((done) => worker.on("online", done));
await promises.stat("/");
spawnSync("true");
const [a] = socketPair();
const abort = new AbortController();
const waiting = waitReadable(a, { signal: abort.signal }).catch(() => undefined);
const notCloseOnExec = listFds()
  .filter((fd) => fd > 2 && !inherited.has(fd) && !isCloseOnExec(fd))
  .map((fd) => `${fd} ${readFdLink("self", fd)}`);
abort.abort();
await waiting;
watcher.close();
server.close();
await worker.terminate();
process.stdout.write(JSON.stringify({ notCloseOnExec }));
