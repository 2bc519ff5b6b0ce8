// Where figures come from: they mean nothing without it.

import { execFileSync } from "node:child_process";
import { cpus, loadavg, release, totalmem } from "node:os";

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGib: number;
  readonly kernel: string;
  readonly node: string;
  readonly v8: string;
  readonly gcc: string | null;
  /** Load of the last minute before the run: what else the machine did. */
  readonly load: number;
}

export function describeMachine(): Machine {
  const all = cpus();
  return {
    cpu: all[0]?.model.trim() ?? "unknown",
    cores: all.length,
    memoryGib: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
    v8: process.versions.v8,
    gcc: gccVersion(),
    load: Math.round((loadavg()[0] ?? 0) * 100) / 100,
  };
}

const compiler = "gcc";

function gccVersion(): string | null {
  try {
    return execFileSync(compiler, ["-dumpfullversion"], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }).trim();
  } catch {
    return null;
  }
}
