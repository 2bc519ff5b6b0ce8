// Commands of the operator that an update runs.

import { spawn } from "node:child_process";
import { CprkitError } from "../../vmstate/error.ts";
import type { UpdateHooks } from "./options.ts";
import type { Run } from "./run.ts";

/** Runs a command of the operator. @throws CprkitError ERR_UPDATE_FAILED when it fails, ERR_TIMEOUT when it does not end in time */
export async function runHook(run: Run, which: keyof UpdateHooks): Promise<void> {
  const command = run.options.hooks?.[which];
  if (command === undefined) return;
  const { source, destination, prepared } = run;
  const env = {
    ...process.env,
    CPRKIT_MODE: prepared.plan.mode,
    CPRKIT_QMP: prepared.publicQmp,
    CPRKIT_SOURCE_PID: String(source.identity.pid),
    CPRKIT_PID: String((destination ?? source).identity.pid),
  };
  const signal = which === "beforePause" ? run.options.signal : undefined;
  const { timeoutMs } = run;
  const end = performance.now() + timeoutMs;
  const child = spawn("/bin/sh", ["-c", command], { stdio: ["ignore", 2, 2], env, signal, timeout: timeoutMs });
  const how = await new Promise<string | undefined>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, name) => resolve(code === 0 ? undefined : `ended with ${name ?? `status ${code}`}`));
  });
  if (how !== undefined && child.killed && signal?.aborted !== true && performance.now() >= end) {
    throw new CprkitError("ERR_TIMEOUT", `the ${which} command did not end within ${timeoutMs} ms: ${command}`);
  }
  if (how !== undefined) throw new CprkitError("ERR_UPDATE_FAILED", `the ${which} command ${how}: ${command}`);
}
