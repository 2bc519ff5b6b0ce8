// Live state across exec: this process opens real fds, keeps them under their keys, and becomes a new Node that finds
// them all. The new program (exec-child.ts) reports how long it took.

import { closeSync, writeSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { cprExecVariable, execWithCprState } from "cprkit/channel";
import { CprState, saveCprState } from "cprkit/cpr";
import { createMemfd, execve, isCloseOnExec, isOpen, raiseNofileLimit, setCloseOnExec } from "cprkit/linux";
import { benchKeys } from "./keys.ts";

/** Told to the new program: when it began, monotonic nanoseconds, as decimals. */
const execMark = "CPRKIT_BENCH_EXEC_MARK";

/**
 * - "cprkit": as a program does it that uses cprkit/channel.
 * - "a call an fd": as cprkit did it first: some calls for each fd, and all modules of its folders loaded.
 * - "nothing": a Node that gets the fds and does nothing with them: nobody can be faster.
 */
export type ExecWay = "cprkit" | "a call an fd" | "nothing";

/** Does not return. */
export function execAcross(name: string, n: number, way: ExecWay): never {
  raiseNofileLimit();
  const state = new CprState();
  for (const key of benchKeys(n)) state.saveFd(key.name, key.id, createMemfd("bench"));
  const child = fileURLToPath(new URL("./exec-child.js", import.meta.url));
  const argv = [process.execPath, child, name, String(n), way];
  const env = { ...process.env, [execMark]: String(process.hrtime.bigint()) };
  if (way === "cprkit") return execWithCprState(state, process.execPath, argv, { env });
  if (way === "nothing") return execve(process.execPath, argv, env, { keepFds: state.entries().map(({ fd }) => fd) });
  for (const { fd } of state) if (!isOpen(fd)) throw new Error(`fd ${fd} is not open`);
  const { bytes } = saveCprState(state, { fdForm: "number" });
  const memfd = createMemfd(cprExecVariable);
  for (let at = 0; at < bytes.length; ) at += writeSync(memfd, bytes, at, bytes.length - at, at);
  for (const { fd } of state) if (isOpen(fd) && isCloseOnExec(fd)) setCloseOnExec(fd, false);
  try {
    execve(process.execPath, argv, { ...env, [cprExecVariable]: String(memfd) }, { keepFds: [memfd] });
  } finally {
    closeSync(memfd);
  }
}
