// Runs a program to its end and gives what it printed.

import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { WaitOptions } from "../../linux/index.ts";
import { checkTimeout, maxDelayMs } from "../../linux/wait/options.ts";
import { CprkitError } from "../../vmstate/error.ts";

/** How a program is run. `timeoutMs` defaults to 10 s. */
export interface RunOptions extends WaitOptions {
  readonly cwd?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/**
 * Runs `command` without a shell and resolves with its standard output. At the time limit, and when the signal fires, it
 * is ended by SIGKILL.
 *
 * @param asked completes "QEMU, asked ...", such as "for its -help".
 * @throws CprkitError ERR_QEMU_EXITED if it can't be started, fails, or prints more than 16 MiB; ERR_TIMEOUT; ERR_ABORTED.
 */
export async function runProgram(command: readonly string[], asked: string, options: RunOptions): Promise<string> {
  const { timeoutMs = 10_000, signal, cwd, env } = options;
  const [program = "", ...words] = command;
  if (checkTimeout(timeoutMs) === 0) {
    throw new CprkitError("ERR_TIMEOUT", `no time left to ask ${program} ${asked}: it was not started`);
  }
  try {
    const { stdout } = await promisify(execFile)(program, words, {
      env,
      // To execFile 0 means no limit, and it takes whole numbers only.
      timeout: timeoutMs > maxDelayMs ? 0 : Math.ceil(timeoutMs),
      killSignal: "SIGKILL",
      maxBuffer: 16 * 1024 * 1024,
      ...(cwd === undefined ? {} : { cwd }),
      ...(signal === undefined ? {} : { signal }),
    });
    return stdout;
  } catch (cause) {
    if (signal?.aborted === true)
      throw new CprkitError("ERR_ABORTED", `aborted while asking ${program} ${asked}`, { cause });
    const { killed, signal: endedBy } = cause as { killed?: boolean; signal?: string };
    if (killed === true && endedBy === "SIGKILL") {
      const text = `${program}, asked ${asked}, was not done within ${timeoutMs} ms`;
      throw new CprkitError("ERR_TIMEOUT", text, { cause });
    }
    const said = cause instanceof Error ? cause.message.trim() : String(cause);
    throw new CprkitError("ERR_QEMU_EXITED", `${program}, asked ${asked}, gave no answer: ${said}`, { cause });
  }
}
