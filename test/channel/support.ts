// Shared by the tests of src/channel: children in plain JS (Node 20 runs no TypeScript) that talk to the test.

import { type ChildProcess, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { CprState } from "../../src/cpr/index.ts";
import { createMemfd, getNofileLimit } from "../../src/linux/index.ts";
import { isCprkitError } from "../../src/vmstate/error.ts";
import { readableRepo } from "../support/other-user.ts";

export interface Child {
  readonly pid: number;
  /** The next message that the child sends; fails when it ends without one. */
  next<T>(): Promise<T>;
  tell(message: unknown): void;
  kill(): Promise<void>;
  readonly exited: Promise<number | null>;
}

export interface ChildOptions {
  readonly uid?: number;
  readonly gid?: number;
}

const scriptOf = (name: string) => fileURLToPath(new URL(`children/${name}.mjs`, import.meta.url));

/** Starts children/NAME.mjs, which imports the built code from dist and gets `options` as its argument. */
export function startChild(name: string, options: object, spawnOptions: ChildOptions = {}): Child {
  const script =
    spawnOptions.uid === undefined ? scriptOf(name) : join(readableRepo(), `test/channel/children/${name}.mjs`);
  const child: ChildProcess = fork(script, [JSON.stringify(options)], {
    stdio: ["ignore", "inherit", "pipe", "ipc"],
    execArgv: [],
    ...spawnOptions,
  });
  let stderr = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const come: unknown[] = [];
  const waiting: { resolve: (message: unknown) => void; reject: (error: Error) => void }[] = [];
  child.on("message", (message) => {
    const next = waiting.shift();
    if (next === undefined) come.push(message);
    else next.resolve(message);
  });
  const exited = new Promise<number | null>((resolve) => {
    child.once("close", (code) => {
      for (const { reject } of waiting.splice(0)) reject(new Error(`${name} ended with ${code}: ${stderr}`));
      resolve(code);
    });
  });
  return {
    pid: child.pid ?? -1,
    exited,
    next: <T>() =>
      // The caller knows what its child sends.
      (come.length > 0
        ? Promise.resolve(come.shift())
        : new Promise<unknown>((resolve, reject) => {
            if (child.exitCode !== null) reject(new Error(`${name} ended with ${child.exitCode}: ${stderr}`));
            else waiting.push({ resolve, reject });
          })) as Promise<T>,
    tell: (message) => child.send(message as object),
    kill: async () => {
      if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
      await exited;
    },
  };
}

/** Runs children/NAME.mjs to its end and returns what it printed as JSON; it must end with 0 and an empty stderr. */
export async function childReport(
  name: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<unknown> {
  const child = spawn(process.execPath, [scriptOf(name), ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 60_000,
    env: { ...process.env, ...env },
  });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const [code, signal] = await once(child, "close");
  if (code !== 0 || stderr !== "") throw new Error(`${name} ended with ${code ?? signal}: ${stderr}`);
  return JSON.parse(stdout);
}

/** A folder that is removed after `body`. */
export async function withTempDir<T>(body: (directory: string) => Promise<T>): Promise<T> {
  const directory = mkdtempSync(join(tmpdir(), "cprkit-channel-"));
  try {
    return await body(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Why a test with so many fds a process cannot run here, or undefined. */
export function tooFewFds(count: number): string | undefined {
  const { hard } = getNofileLimit();
  return hard >= count + 200 ? undefined : `RLIMIT_NOFILE's hard limit is ${hard}, ${count + 200} are needed`;
}

/** A state with `count` memfds, which belong to the caller. */
export function memfdState(count: number): { readonly state: CprState; readonly fds: readonly number[] } {
  const state = new CprState();
  const fds = Array.from({ length: count }, (_, i) => createMemfd(`ram${i}`));
  for (const [i, fd] of fds.entries()) state.saveFd(`ram${i}`, 0, fd);
  return { state, fds };
}

/** What `promise` fails with, as the fields that a test looks at. */
export async function failure(promise: Promise<unknown>): Promise<{ code: string; message: string; errno?: string }> {
  try {
    await promise;
  } catch (error) {
    if (!isCprkitError(error)) throw error;
    const { code, message, errno } = error;
    return errno === undefined ? { code, message } : { code, message, errno };
  }
  throw new Error("it was expected to fail");
}
