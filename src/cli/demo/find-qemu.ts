// The QEMU of the demo: the one that is named, or the one in PATH.

import { execFile } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { CprkitError } from "../../vmstate/error.ts";

export type FoundQemu =
  | { readonly found: true; readonly path: string; readonly version: string }
  | { readonly found: false; readonly reason: string };

const program = "qemu-system-x86_64";

/** The QEMU to use: `path`, or the one in PATH. @throws CprkitError ERR_QEMU_NOT_FOUND: `path` is none, or too old */
export async function findQemu(path: string | undefined): Promise<FoundQemu> {
  const candidate = path ?? inPath();
  if (candidate === undefined) return { found: false, reason: `there is no ${program} in PATH; name one with --qemu` };
  const version = await versionOf(candidate);
  if (version !== undefined && Number.parseInt(version, 10) >= 10) return { found: true, path: candidate, version };
  const problem =
    version === undefined ? "is no QEMU that runs here" : `is QEMU ${version}; CPR transfer needs 10.0 or newer`;
  if (path !== undefined) throw new CprkitError("ERR_QEMU_NOT_FOUND", `${candidate} ${problem}`);
  return { found: false, reason: `${candidate} ${problem}` };
}

async function versionOf(qemu: string): Promise<string | undefined> {
  try {
    const { stdout } = await promisify(execFile)(qemu, ["--version"], { timeout: 10_000 });
    return /version (\d+\.\d+\.\d+)/.exec(stdout)?.[1];
  } catch {
    return undefined;
  }
}

function inPath(): string | undefined {
  for (const folder of (process.env["PATH"] ?? "").split(delimiter)) {
    try {
      const path = join(folder, program);
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not here.
    }
  }
  return undefined;
}
