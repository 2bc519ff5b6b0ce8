// What an update writes down before it acts, so that another process can finish it: one small JSON file a VM, always
// either the old or the new text, also when the power fails.

import {
  closeSync,
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
import { z } from "zod";
import { CprkitError } from "../../../vmstate/error.ts";
import { cprModes } from "../../vm/binary.ts";
import { allSteps } from "../steps.ts";

const processSchema = z.object({
  pid: z.number().int().positive(),
  /** Clock ticks, as a decimal: together with the pid this is one process and no later one. */
  startTime: z.string().regex(/^\d+$/),
  /** Absolute path of its QMP socket. */
  qmp: z.string(),
  version: z.string(),
});

const journalSchema = z.object({
  version: z.literal(1),
  id: z.string(),
  /** ISO 8601. */
  startedAt: z.string(),
  mode: z.enum(cprModes),
  /** The last step that was reached; see steps.ts. */
  step: z.enum(allSteps),
  /** Present when the update is over. */
  outcome: z.enum(["updated", "rolled-back", "lost"]).optional(),
  message: z.string().optional(),
  source: processSchema,
  destination: processSchema.optional(),
  /** The run state of the guest before the update, such as "running". */
  runState: z.string(),
  returnPath: z.boolean(),
  /** What the source's migration settings were. */
  settings: z.object({ mode: z.string(), capabilities: z.record(z.string(), z.boolean()) }),
  moved: z.array(
    z.object({ kind: z.enum(["socket", "pidfile"]), public: z.string(), old: z.string(), new: z.string() }),
  ),
  /** The path of the QMP socket that people use. */
  publicQmp: z.string(),
  /** The file that holds the state in cpr-exec and cpr-reboot. */
  stateFile: z.string().optional(),
  /** What to remove at the end, in the state folder. */
  files: z.array(z.string()),
  log: z.string(),
  vfio: z.boolean(),
  /** What was asked for: to do it again. */
  request: z.object({
    qemu: z.string().optional(),
    command: z.array(z.string()).optional(),
    mode: z.enum(cprModes),
    allow: z.array(z.string()),
    timeoutMs: z.number(),
  }),
});

/** One update of one VM. */
export type Journal = z.infer<typeof journalSchema>;
export type JournalProcess = z.infer<typeof processSchema>;

const fileName = "journal.json";

/** Writes the journal so that it is on the disk when this returns. @throws CprkitError ERR_FILE (a full disk) */
export function writeJournal(folder: string, journal: Journal): void {
  const path = join(folder, fileName);
  const draft = `${path}.new`;
  try {
    const fd = openSync(draft, "w", 0o600);
    try {
      const bytes = Buffer.from(`${JSON.stringify(journal, undefined, 1)}\n`);
      for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(draft, path);
    syncFolder(folder);
  } catch (cause) {
    rmSync(draft, { force: true });
    throw new CprkitError(
      "ERR_FILE",
      `${path}: the journal can't be written: ${String(cause)}; free some space there`,
      {
        cause,
      },
    );
  }
}

/** The journal of the last update, or undefined if there is none. @throws CprkitError ERR_FILE when it can't be read. */
export function readJournal(folder: string): Journal | undefined {
  const path = join(folder, fileName);
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return undefined;
    throw new CprkitError("ERR_FILE", `${path}: the journal can't be read: ${String(cause)}`, { cause });
  }
  try {
    return journalSchema.parse(JSON.parse(text));
  } catch (cause) {
    const why = cause instanceof z.ZodError ? z.prettifyError(cause).replaceAll("\n", "; ") : String(cause);
    throw new CprkitError("ERR_FILE", `${path}: this is no journal of cprkit: ${why}`, { cause });
  }
}

/** Notes the end. On a full disk the journal goes: what it says would be wrong, and removing needs no room. */
export function closeJournal(
  folder: string,
  journal: Journal,
  outcome: NonNullable<Journal["outcome"]>,
  message: string,
): void {
  journal.outcome = outcome;
  journal.message = message;
  try {
    writeJournal(folder, journal);
  } catch {
    rmSync(join(folder, fileName), { force: true });
  }
}

/** Every journal below a state folder, with its own folder. Unreadable ones are passed over. */
export function listJournals(base: string): { readonly folder: string; readonly journal: Journal }[] {
  let names: string[];
  try {
    names = readdirSync(base);
  } catch {
    return [];
  }
  return names.sort().flatMap((name) => {
    const folder = join(base, name);
    try {
      const journal = readJournal(folder);
      return journal === undefined ? [] : [{ folder, journal }];
    } catch {
      return [];
    }
  });
}

/** Creates a folder that only this user can look into. @throws CprkitError ERR_FILE */
export function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (cause) {
    const text = `${folder}: the state folder can't be made: ${String(cause)}; choose another one with --state-dir`;
    throw new CprkitError("ERR_FILE", text, { cause });
  }
}

function syncFolder(folder: string): void {
  const fd = openSync(dirname(join(folder, fileName)), "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
