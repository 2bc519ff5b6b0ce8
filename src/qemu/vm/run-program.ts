// Runs a program to its end and gives what it printed.

import type { ChildProcess } from "node:child_process";
import type { WaitOptions } from "../../linux/index.ts";
import { checkTimeout, maxDelayMs } from "../../linux/wait/options.ts";
import { CprkitError } from "../../vmstate/error.ts";
import { spawnLike, startLike } from "./launcher.ts";
import { withProbeMark } from "./probe-mark.ts";
import type { VmProcess } from "./process.ts";

/** How a program is run. `timeoutMs` defaults to 10 s. */
export interface RunOptions extends WaitOptions {
  /** Whose rights and folder it gets. */
  readonly like: VmProcess;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** What is kept of the output, in bytes. */
const maxBytes = 16 * 1024 * 1024;

/**
 * Runs `command` without a shell and resolves with its standard output. At the time limit, and when the signal fires, it
 * is ended by SIGKILL.
 *
 * @param asked completes "QEMU, asked ...", such as "for its -help".
 * @throws CprkitError ERR_QEMU_EXITED if it can't be started, fails, or prints more than 16 MiB; ERR_TIMEOUT; ERR_ABORTED.
 */
export async function runProgram(command: readonly string[], asked: string, options: RunOptions): Promise<string> {
  const { timeoutMs = 10_000, signal, like, env } = options;
  const [program = ""] = command;
  if (checkTimeout(timeoutMs) === 0) {
    throw new CprkitError("ERR_TIMEOUT", `no time left to ask ${program} ${asked}: it was not started`);
  }
  const noAnswer = (why: string, cause?: unknown) =>
    new CprkitError("ERR_QEMU_EXITED", `${program}, asked ${asked}, gave no answer: ${why}`, { cause });
  const start = startLike(like, { words: command, env: withProbeMark(env), endsWithUs: true });
  let child: ChildProcess;
  try {
    child = spawnLike(start, { stdio: ["ignore", "pipe", "pipe"] });
  } catch (cause) {
    throw noAnswer(cause instanceof Error ? cause.message : String(cause), cause);
  } finally {
    start.close();
  }
  const { output, said } = collect(child);
  let isLate = false;
  const end = () => void child.kill("SIGKILL");
  const timer = setTimeout(
    () => {
      isLate = true;
      end();
    },
    Math.min(timeoutMs, maxDelayMs),
  );
  signal?.addEventListener("abort", end, { once: true });
  if (signal?.aborted === true) end();
  const failure = await new Promise<string | undefined>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, by) => {
      const how = code === 0 ? undefined : `it ended with ${by ?? `status ${code}`}`;
      child.once("close", () => resolve(how));
      // What a wrapper left behind may hold the output open.
      setTimeout(() => resolve(how), 200);
    });
  });
  clearTimeout(timer);
  signal?.removeEventListener("abort", end);
  for (const stream of [child.stdout, child.stderr]) stream?.destroy();
  if (signal?.aborted === true) throw new CprkitError("ERR_ABORTED", `aborted while asking ${program} ${asked}`);
  if (isLate) throw new CprkitError("ERR_TIMEOUT", `${program}, asked ${asked}, was not done within ${timeoutMs} ms`);
  if (failure !== undefined) throw noAnswer(said() === "" ? failure : `${failure}: ${said()}`);
  const bytes = output();
  if (bytes === undefined) throw noAnswer(`it printed more than ${maxBytes} bytes`);
  return bytes.toString("utf8");
}

/** The output so far, undefined when it is too much; and the start of what came on standard error. */
function collect(child: ChildProcess): { readonly output: () => Buffer | undefined; readonly said: () => string } {
  const chunks: Buffer[] = [];
  let size = 0;
  let text = "";
  child.stdout?.on("data", (chunk: Buffer) => {
    size += chunk.length;
    if (size > maxBytes) child.kill("SIGKILL");
    else chunks.push(chunk);
  });
  child.stderr?.setEncoding("utf8").on("data", (more: string) => {
    if (text.length < 4096) text += more;
  });
  return {
    output: () => (size > maxBytes ? undefined : Buffer.concat(chunks)),
    said: () => text.trim(),
  };
}
