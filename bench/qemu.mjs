// The QEMUs of the benchmarks: where they are, how they are started, and that none outlives its benchmark.

import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("..", import.meta.url));
const cache = process.env.CPRKIT_CACHE ?? join(root, ".cache");

export const binary = (version) => join(cache, "qemu", version, "qemu-system-x86_64");

const started = new Set();
process.on("exit", () => {
  for (const pid of started) kill(pid);
});

/** One that cprkit has started. */
export function adopt(pid) {
  started.add(pid);
}

export function start(program, args) {
  const child = spawn(program, args, { stdio: ["ignore", "ignore", "inherit"] });
  started.add(child.pid);
  const ended = new Promise((resolve) => child.once("close", resolve));
  return { pid: child.pid, ended };
}

export function kill(pid) {
  started.delete(pid);
  try {
    // Only what is still one of ours: the number may be another's by now.
    if (readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("guest.rom")) process.kill(pid, "SIGKILL");
  } catch {
    // Gone.
  }
}

export function spread(list) {
  const sorted = list.filter((value) => value !== undefined).sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const median = sorted.length % 2 === 1 ? sorted[middle - 0.5] : (sorted[middle - 1] + sorted[middle]) / 2;
  return { median, min: sorted[0], max: sorted.at(-1) };
}
