// Servers of the inspector's page, started as a user does.

import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { repoRoot } from "../support/cli.ts";

const started = new Set<ChildProcess>();

export interface Served {
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  readonly said: { readonly url: string; readonly opened: boolean };
  readonly url: URL;
}

/** Starts one, without a desktop, and waits until it says its address. */
export function serve(...args: readonly string[]): Promise<Served> {
  return serveWith({ DISPLAY: undefined, WAYLAND_DISPLAY: undefined }, ...args);
}

/** The same, with these variables of the environment. */
export async function serveWith(env: NodeJS.ProcessEnv, ...args: readonly string[]): Promise<Served> {
  const child = spawn(process.execPath, ["bin/cprkit", ...args, "--json"], {
    cwd: repoRoot,
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, ...env },
  });
  started.add(child);
  const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
  const line = await new Promise<string>((resolve, reject) => {
    createInterface(child.stdout).once("line", resolve);
    void ended.then((code) => reject(new Error(`the server ended with ${code}`)));
  });
  const said = JSON.parse(line) as Served["said"];
  return { child, ended, said, url: new URL(said.url) };
}

/** Ends all that were started. */
export function killServers(): void {
  for (const child of started) child.kill("SIGKILL");
  started.clear();
}
