// What an agent keeps on its host's disk: who is the agent, what it remembers of the ledger, and each attempt until the
// ledger has heard what became of it. None of it needs the database.

import { spawnSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { FleetError } from "../error.ts";
import type { Attempt, Memory, Result } from "../ledger/host.ts";
import { replaceableBy } from "./owned.ts";

/** An attempt, with its result once there is one. */
interface Kept {
  readonly attempt: Attempt;
  readonly before?: Result["before"];
  readonly result?: Result | undefined;
}

export interface AgentState {
  memory(): Memory;
  /** The epoch never goes down, whoever heard of it first. */
  remember(memory: Memory): void;
  /** Attempts of which the ledger does not know the end, the oldest first. */
  kept(): Kept[];
  keep(kept: Kept): void;
  forget(attempt: Attempt): void;
  /** Journals of cprkit's updates. */
  readonly updates: string;
  close(): void;
}

/**
 * Opens the folder for the one agent that may have it, until this process ends.
 *
 * @throws FleetError "refused" when another agent has it, or another user could change it
 */
export function openState(dir: string): AgentState {
  mkdirSync(join(dir, "updates"), { recursive: true, mode: 0o700 });
  mkdirSync(join(dir, "attempts"), { recursive: true, mode: 0o700 });
  const fault = replaceableBy(dir);
  if (fault !== undefined) throw new FleetError("refused", `${dir} is not trusted: ${fault}`);
  const lock = takeLock(join(dir, "lock"));
  const memoryFile = join(dir, "memory.json");
  const memory = () => read<Memory>(memoryFile) ?? { epoch: 0, seen: undefined };
  const fileOf = ({ epoch }: Attempt) => join(dir, "attempts", `${String(epoch).padStart(12, "0")}.json`);
  return {
    updates: join(dir, "updates"),
    memory,
    remember: ({ epoch, seen }) => write(memoryFile, { epoch: Math.max(epoch, memory().epoch), seen }),
    kept: () =>
      readdirSync(join(dir, "attempts"))
        .filter((name) => name.endsWith(".json"))
        .sort()
        .flatMap((name) => read<Kept>(join(dir, "attempts", name)) ?? []),
    keep: (kept) => write(fileOf(kept.attempt), kept),
    forget: (attempt) => rmSync(fileOf(attempt), { force: true }),
    close: () => closeSync(lock),
  };
}

/** The lock is the open file's, so it ends with this process, however that ends. flock(1) takes it for us. */
function takeLock(path: string): number {
  const fd = openSync(path, "a", 0o600);
  const { status, error } = spawnSync("flock", ["--nonblock", "3"], { stdio: ["ignore", "ignore", "ignore", fd] });
  if (status === 0) return fd;
  closeSync(fd);
  const why = error === undefined ? "another agent of this host runs" : `flock: ${error.message}`;
  throw new FleetError("refused", `${path}: ${why}`);
}

function read<T>(path: string): T | undefined {
  return existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as T) : undefined;
}

/** Whole and on the disk, or not at all. */
function write(path: string, value: unknown): void {
  const draft = `${path}.new`;
  const fd = openSync(draft, "w", 0o600);
  try {
    writeSync(fd, JSON.stringify(value));
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(draft, path);
  const folder = openSync(dirname(path), "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
