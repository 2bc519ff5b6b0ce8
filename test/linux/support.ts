// Shared by the tests of src/linux: child processes in plain JS (Node 20 runs no TypeScript) and the count of fds.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { listFds, readFdLink } from "../../src/linux/index.ts";
import { readableRepo } from "../support/other-user.ts";

/** Every open fd of this process with what it is. */
export function openFds(): string[] {
  return listFds().map((fd) => `${fd} ${readFdLink("self", fd)}`);
}

/** Runs `body` and expects the same fds to be open afterwards as before. */
export async function withoutLeak(body: () => void | Promise<void>): Promise<void> {
  const before = openFds();
  await body();
  expect(openFds()).toEqual(before);
}

export interface ChildOptions {
  readonly uid?: number;
  readonly gid?: number;
  readonly env?: Record<string, string>;
}

export interface ChildResult {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs children/NAME.mjs, which imports the built code from dist, and waits for its end. */
export function runChild(name: string, args: readonly string[] = [], options: ChildOptions = {}): Promise<ChildResult> {
  const script =
    options.uid === undefined
      ? fileURLToPath(new URL(`children/${name}.mjs`, import.meta.url))
      : join(readableRepo(), `test/linux/children/${name}.mjs`);
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [script, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
      timeout: 30_000,
      ...options,
      env: { ...process.env, ...options.env },
    });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}

/** As {@link runChild}; the child must end with 0 and print JSON. */
export async function childReport(
  name: string,
  args: readonly string[] = [],
  options: ChildOptions = {},
): Promise<unknown> {
  const { code, signal, stdout, stderr } = await runChild(name, args, options);
  expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: "" });
  return JSON.parse(stdout);
}

/** A folder that is removed after `body`. */
export async function withTempDir(body: (directory: string) => void | Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "cprkit-linux-"));
  try {
    await body(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
