// The C peers: where they are, and how one is run.

import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type Measured, measured } from "./measured.ts";
import type { Side } from "./rows.ts";

/** A checkout's own; a package from the registry has none. */
const ownFolder = fileURLToPath(new URL("../../.cache/peers", import.meta.url));

/** The folder of the built C peers, or undefined. `folder`: where else to look. */
export function findPeers(folder = ownFolder): string | undefined {
  return existsSync(join(folder, "lookup")) ? folder : undefined;
}

export interface SideFiles {
  readonly names: string;
  readonly order: string;
}

/** Runs one side once, with `rounds` rounds, in a process of its own. */
export async function runSide(
  side: Side,
  n: number,
  rounds: number,
  files: SideFiles,
  peers: string | undefined,
  signal: AbortSignal,
): Promise<Measured> {
  const [program, args] =
    side.program === "cprkit"
      ? [process.execPath, ["--expose-gc", caseProcess, side.case, String(n), String(rounds)]]
      : [join(peers ?? "", side.program), peerArguments(side, n, rounds, files)];
  const { stdout } = await promisify(execFile)(program, args, { signal, timeout: 600_000, maxBuffer: 1 << 20 });
  return measured.parse(JSON.parse(stdout));
}

const caseProcess = fileURLToPath(new URL("./case-process.js", import.meta.url));

function peerArguments(side: Side, n: number, rounds: number, files: SideFiles): string[] {
  const order = side.program === "lookup" ? ["-p", files.order] : [];
  return ["-f", files.names, ...order, "-n", String(n), "-r", String(rounds), "-c", side.case];
}
