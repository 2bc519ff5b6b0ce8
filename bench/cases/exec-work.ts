// Live state across exec: this process opens real fds, keeps them under their keys, and becomes a new Node that finds
// them all. The new program (exec-child.ts) reports every phase.

import { closeSync, writeSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { cprExecVariable } from "cprkit/channel";
import { CprState, saveCprState } from "cprkit/cpr";
import { createMemfd, execve, raiseNofileLimit, setCloseOnExec } from "cprkit/linux";
import { benchKeys } from "./keys.ts";

/** Told to the new program: monotonic nanoseconds, as decimals. */
const execMarks = "CPRKIT_BENCH_EXEC_MARKS";

/** Does not return. */
export function execAcross(name: string, n: number): never {
  raiseNofileLimit();
  const state = new CprState();
  const fds: number[] = [];
  for (const key of benchKeys(n)) {
    const fd = createMemfd("bench");
    fds.push(fd);
    state.saveFd(key.name, key.id, fd);
  }
  const marks = [now()];
  const { bytes } = saveCprState(state, { fdForm: "number" });
  const memfd = createMemfd(cprExecVariable);
  for (let at = 0; at < bytes.length; ) at += writeSync(memfd, bytes, at, bytes.length - at, at);
  marks.push(now());
  for (const fd of fds) setCloseOnExec(fd, false);
  marks.push(now());
  const child = fileURLToPath(new URL("./exec-child.js", import.meta.url));
  const env = { ...process.env, [cprExecVariable]: String(memfd), [execMarks]: marks.join(",") };
  try {
    execve(process.execPath, [process.execPath, child, name, String(n)], env, { keepFds: [memfd] });
  } finally {
    closeSync(memfd);
  }
}

function now(): bigint {
  return process.hrtime.bigint();
}
