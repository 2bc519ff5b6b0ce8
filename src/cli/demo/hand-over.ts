// The main job with real processes: this one is the old QEMU's part, a child is the new one's.

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { sendCprState } from "../../channel/index.ts";
import { CprState, saveCprState } from "../../cpr/index.ts";
import { closeFds, listFds, raiseNofileLimit } from "../../linux/index.ts";
import { CprkitError } from "../../vmstate/index.ts";
import { type ChildMessage, childMessage } from "./messages.ts";
import { realisticKeys } from "./names.ts";
import { countSame, openFiles } from "./open-files.ts";

export interface HandOver {
  readonly fds: number;
  /** Fds that the new process found under their keys, and how many of those are the same open file. */
  readonly found: number;
  readonly same: number;
  readonly bytes: number;
  /** Milliseconds: writing the state; from connecting to the hang-up; reading the state. */
  readonly saveMs: number;
  readonly transferMs: number;
  readonly loadMs: number;
  /** Nanoseconds for looking up every fd once, cold, in the new process. */
  readonly findNs: number;
  /** Fds still open in each process, beyond those of before, after all were closed. */
  readonly leaked: { readonly old: number; readonly new: number };
}

/** Opens `count` fds, hands them to a new process and checks what it got. Throws ERR_LIMIT if too many for the system. */
export async function handOver(count: number, onStep: (text: string) => void, signal: AbortSignal): Promise<HandOver> {
  requireRoom(count);
  const keys = realisticKeys(count);
  const folder = await mkdtemp(join(tmpdir(), "cprkit-demo-"));
  const socket = join(folder, "cpr.sock");
  const program = fileURLToPath(new URL("./new-process.js", import.meta.url));
  const child = fork(program, ["--demo-process", socket, String(count)], { signal });
  const answers = answersOf(child);
  let held: number[] = [];
  try {
    await answers("listening");
    const openBefore = new Set(listFds());
    onStep(`opening ${count.toLocaleString("en-US")} memfds, eventfds and sockets`);
    const { fds, extra } = openFiles(keys);
    held = [...fds, ...extra];
    const state = new CprState();
    for (const [at, { name, id }] of keys.entries()) state.saveFd(name, id, fds[at] as number);
    const saveStart = performance.now();
    const { bytes } = saveCprState(state);
    const saveMs = performance.now() - saveStart;

    onStep("handing them over");
    const transferStart = performance.now();
    const sent = await sendCprState(socket, state, { fdsPerMessage: 253, signal });
    await sent.hungUp({ signal });
    const transferMs = performance.now() - transferStart;

    const loaded = await answers("loaded");
    onStep("comparing every open file with its original");
    const same = countSame(keys, fds, child.pid as number, loaded.fds);
    closeFds(held);
    held = [];
    child.send("close");
    const closed = await answers("closed");
    return {
      fds: count,
      found: loaded.fds.filter((fd) => fd >= 0).length,
      same: Math.min(same, count - loaded.wrong),
      bytes: bytes.length,
      saveMs,
      transferMs,
      loadMs: loaded.loadMs,
      findNs: loaded.findNs,
      // Not the difference of two counts: the child's channel may be closed by now.
      leaked: { old: listFds().filter((fd) => !openBefore.has(fd)).length, new: closed.leaked },
    };
  } finally {
    closeFds(held);
    child.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A third of the fds are sockets with another end. */
function requireRoom(count: number): void {
  const { soft } = raiseNofileLimit();
  const needed = Math.ceil((count * 4) / 3) + 100;
  if (soft >= needed) return;
  throw new CprkitError(
    "ERR_LIMIT",
    `${count} fds need a limit of ${needed} open fds, but it is ${soft}: raise it with \`ulimit -Hn\`, or use --fds ${Math.floor(((soft - 100) * 3) / 4)}`,
  );
}

/** Waits for the child's next message, which must be the one expected. */
function answersOf(child: ChildProcess) {
  const failure = new AbortController();
  child.once("exit", (code, signal) => failure.abort(new Error(`it ended with ${signal ?? `exit code ${code}`}`)));
  child.once("error", (error) => failure.abort(error));
  return async <E extends ChildMessage["event"]>(event: E): Promise<Extract<ChildMessage, { event: E }>> => {
    try {
      const [message] = await once(child, "message", { signal: failure.signal });
      const parsed = childMessage.parse(message);
      if (parsed.event !== event) throw new Error(`it said "${parsed.event}"`);
      return parsed as Extract<ChildMessage, { event: E }>;
    } catch (cause) {
      const reason = failure.signal.aborted ? failure.signal.reason : cause;
      throw new CprkitError(
        "ERR_PEER",
        `the new process did not get to "${event}": ${reason instanceof Error ? reason.message : String(reason)}`,
        { cause },
      );
    }
  };
}
