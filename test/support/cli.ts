// Runs the command line as a user does: bin/cprkit in a process of its own.

import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

export interface CliResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export const repoRoot = fileURLToPath(new URL("../..", import.meta.url));

export function cprkit(
  args: readonly string[],
  options: { readonly input?: Uint8Array; readonly env?: NodeJS.ProcessEnv } = {},
): CliResult {
  const result = spawnSync(process.execPath, ["bin/cprkit", ...args], {
    cwd: repoRoot,
    input: options.input ?? new Uint8Array(0),
    env: { ...process.env, ...options.env },
    maxBuffer: 256 * 1024 * 1024,
    timeout: 120_000,
  });
  return { code: result.status, stdout: result.stdout.toString("utf8"), stderr: result.stderr.toString("utf8") };
}
