// What an update writes down before it acts, so that another process can finish it: one small JSON file per VM, always
// either the old or the new text, also when the power fails.

import { lstatSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { z } from "zod";
import { CprkitError } from "../../../vmstate/error.ts";
import { publicName } from "../../command-line/derive.ts";
import { threadSchema } from "../../machine/schema.ts";
import { updateModes } from "../../vm/binary.ts";
import { allSteps } from "../steps.ts";
import { checkedFolder, isError, readOwnFile, replaceOwnFile, replaceOwnFileMeanwhile } from "./checked-folder.ts";

const processSchema = z.object({
  pid: z.number().int().positive(),
  /** Clock ticks, as a decimal: together with the pid this is one process and no later one. */
  startTime: z.string().regex(/^\d+$/),
  /** Absolute path of its QMP socket. */
  qmp: z.string(),
  version: z.string(),
});

const qmpStep = z.object({ execute: z.string(), arguments: z.record(z.string(), z.unknown()).optional() });

const tapSchema = z.object({
  fd: z.number(),
  headerBytes: z.number(),
  attached: z.boolean().optional(),
  offload: z.number().optional(),
});

const journalSchema = z.object({
  version: z.literal(1),
  id: z.string(),
  /** ISO 8601. */
  startedAt: z.string(),
  /** Of the machine's run in which the pids mean something: /proc/sys/kernel/random/boot_id. */
  bootId: z.string(),
  mode: z.enum(updateModes),
  /** The last step that was reached; see steps.ts. */
  step: z.enum(allSteps),
  /** Present when the update is over. */
  outcome: z.enum(["updated", "rolled-back", "lost"]).optional(),
  message: z.string().optional(),
  /** What the caller of ensureUpdated named this request. */
  key: z.string().optional(),
  source: processSchema,
  destination: processSchema.optional(),
  /** Version of the new QEMU, before there is a destination, too; as these three, missing in journals of cprkit 0.1. */
  to: z.string().optional(),
  /** As in the report. */
  pause: z
    .object({ downtimeMs: z.number().optional(), stopUs: z.number().optional(), resumeUs: z.number().optional() })
    .optional(),
  /** The run state of the guest before the update, such as "running". */
  runState: z.string(),
  returnPath: z.boolean(),
  /**
   * Whether the migration that the source has is this update's own; false after QEMU refused to begin it. Missing: not
   * known yet, or a journal of cprkit 0.1; then the step says it.
   */
  begun: z.boolean().optional(),
  /** The new QEMU said, after it had been told not to start the guest, that it had not; it has been ended since. */
  neverRan: z.boolean().optional(),
  /** What the source's migration settings were. */
  settings: z.object({
    mode: z.string(),
    capabilities: z.record(z.string(), z.boolean()),
    /** Missing in journals of cprkit 0.1. */
    parameters: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).optional(),
  }),
  /** Commands for the new QEMU when the old one has ended. Missing, as `undo`, in journals of cprkit 0.1. */
  after: z.array(qmpStep).optional(),
  /** Commands that give the old QEMU back what it has let go of. */
  undo: z.array(qmpStep).optional(),
  moved: z.array(
    z.object({ kind: z.enum(["socket", "pidfile", "log"]), public: z.string(), old: z.string(), new: z.string() }),
  ),
  /** The fds that the new QEMU got from the old one; the old one must not run what it runs at a usual end. */
  handed: z
    .array(z.object({ name: z.string(), id: z.number(), fd: z.number(), at: z.number(), what: z.string() }))
    .optional(),
  /** Fds of the new QEMU that hold its places at sockets, until it has the guest and the old one has ended. */
  doors: z.array(z.number()).optional(),
  /** The queues of its taps, as the old QEMU had set them. */
  taps: z.array(tapSchema).optional(),
  /** CPUs and priorities of the threads, by their roles, for those that cpr-exec makes anew. */
  threads: z.array(threadSchema).optional(),
  /** Who may use the sockets and the pidfile. Missing in journals of cprkit 0.1. */
  owned: z.array(z.object({ path: z.string(), mode: z.string(), uid: z.number(), gid: z.number() })).optional(),
  /** The path of the QMP socket that people use. */
  publicQmp: z.string(),
  /** What QEMU calls the path of its QMP socket, and all of `moved`, in a mount namespace of its own; missing in ours. */
  qmpInside: z.string().optional(),
  /** The user that QEMU runs as; missing in journals of cprkit 0.1, which updated only its own user's. */
  owner: z.object({ uid: z.number(), gid: z.number(), groups: z.array(z.number()) }).optional(),
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
    mode: z.enum(updateModes),
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
  try {
    replaceOwnFile(path, textOf(journal));
  } catch (cause) {
    throw notWritten(path, cause);
  }
}

/**
 * Writes the journal as it is now; another process sees it so when this resolves. This process does other work meanwhile. After a
 * power failure the text before an unfinished one may be there again: no QEMU of then lives, which the boot id in either says.
 *
 * @throws CprkitError as {@link writeJournal}
 */
export async function writeJournalMeanwhile(folder: string, journal: Journal): Promise<void> {
  const path = join(folder, fileName);
  try {
    await replaceOwnFileMeanwhile(path, textOf(journal), journal.outcome !== undefined);
  } catch (cause) {
    throw notWritten(path, cause);
  }
}

function textOf(journal: Journal): string {
  return `${JSON.stringify(journal, undefined, 1)}\n`;
}

function notWritten(path: string, cause: unknown): CprkitError {
  const why = `${String(cause)}; it needs some free space on a disk that can be written`;
  return new CprkitError("ERR_FILE", `${path}: the journal can't be written: ${why}`, { cause });
}

/** Writes the journal if that can be. @returns what went wrong, in words */
export function saveJournal(folder: string, journal: Journal): string | undefined {
  try {
    writeJournal(folder, journal);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/**
 * The journal of the last update, or undefined if there is none. Of a checked folder.
 *
 * @throws CprkitError ERR_FILE when it can't be read, is of another version of cprkit, could be another user's, or names
 * a file that is not this VM's.
 */
export function readJournal(folder: string): Journal | undefined {
  const path = join(folder, fileName);
  const text = readOwnFile(path);
  if (text === undefined) return undefined;
  const wayOut = `see with ps which QEMU runs the guest, end the other one, then remove ${path}`;
  let journal: Journal;
  try {
    // Once or twice in a process: for that zod need not make code.
    journal = journalSchema.parse(JSON.parse(text), { jitless: true });
  } catch (cause) {
    const why = cause instanceof z.ZodError ? z.prettifyError(cause).replaceAll("\n", "; ") : String(cause);
    const text = `${path}: this is not a journal that this version of cprkit can read: ${why.slice(0, 500)}; use the`;
    throw new CprkitError("ERR_FILE", `${text} version that wrote it, or ${wayOut}`, { cause });
  }
  const foreign = foreignPath(folder, journal);
  if (foreign !== undefined) {
    throw new CprkitError("ERR_FILE", `${path}: it names ${foreign}, which is not of this VM; ${wayOut}`);
  }
  return journal;
}

/** A path that no update of this VM would have written down: acting on it would harm somebody else. */
function foreignPath(folder: string, journal: Journal): string | undefined {
  const { id, files, stateFile, log, moved, publicQmp, source } = journal;
  if (publicName(source.qmp) !== publicQmp) return publicQmp;
  for (const file of [...files, log, ...(stateFile === undefined ? [] : [stateFile])]) {
    const isHere = [folder, join(folder, basename(id))].includes(dirname(file));
    if (!isHere || file !== join(folder, file.slice(folder.length + 1))) return file;
  }
  const isGeneration = (path: string, name: string) => publicName(path) === name;
  const odd = moved.find((name) => {
    const names = [name.old, name.new];
    return name.new === name.public || !names.every((path) => isGeneration(path, name.public));
  });
  return odd?.new;
}

/** Of this run of the machine; pids of an earlier one are other processes' now. */
export function bootId(): string {
  return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
}

/**
 * Notes the end. On a full disk the journal is removed: what it says would be wrong, and removing needs no room.
 *
 * @returns what went wrong, in words, when it can be neither written nor removed
 */
export function closeJournal(
  folder: string,
  journal: Journal,
  outcome: NonNullable<Journal["outcome"]>,
  message: string,
): string | undefined {
  journal.outcome = outcome;
  journal.message = message;
  try {
    writeJournal(folder, journal);
  } catch (error) {
    try {
      removeJournal(folder);
    } catch {
      const why = error instanceof Error ? error.message : String(error);
      return `${why}. It still says that the update is unfinished: remove it by hand`;
    }
  }
  return undefined;
}

/** The same while this process does other work. */
export async function closeJournalMeanwhile(...args: Parameters<typeof closeJournal>): Promise<string | undefined> {
  const [folder, journal, outcome, message] = args;
  journal.outcome = outcome;
  journal.message = message;
  try {
    await writeJournalMeanwhile(folder, journal);
    return undefined;
  } catch {
    return closeJournal(...args);
  }
}

export function removeJournal(folder: string): void {
  rmSync(join(folder, fileName), { force: true });
}

/** The journals below a state folder. */
export interface Listed {
  readonly journals: readonly { readonly folder: string; readonly journal: Journal }[];
  /** Folders whose journal can't be read, and why. */
  readonly problems: readonly { readonly folder: string; readonly error: CprkitError }[];
}

/** Every journal below a state folder, with its own folder. @throws CprkitError ERR_FILE when others can write there */
export function listJournals(base: string): Listed {
  const journals: { folder: string; journal: Journal }[] = [];
  const problems: { folder: string; error: CprkitError }[] = [];
  for (const path of listFolders(base)) {
    try {
      const folder = checkedFolder(path, { make: false });
      const journal = folder === undefined ? undefined : readJournal(folder);
      if (folder !== undefined && journal !== undefined) journals.push({ folder, journal });
    } catch (error) {
      if (!(error instanceof CprkitError)) throw error;
      problems.push({ folder: path, error });
    }
  }
  return { journals, problems };
}

/** The folders of VMs below a state folder, not looked into yet. @throws CprkitError ERR_FILE when others can write there */
export function listFolders(base: string): string[] {
  const checked = checkedFolder(base, { make: false });
  return checked === undefined ? [] : namesIn(checked).map((name) => join(checked, name));
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .flatMap((entry) => (entry.isFile() ? [] : [entry.name]))
      .sort();
  } catch (cause) {
    if (isError(cause, "ENOENT")) return [];
    throw new CprkitError("ERR_FILE", `${folder}: can't be read: ${String(cause)}`, { cause });
  }
}

/** Removes the logs of earlier updates but the last few. */
export function removeOldLogs(folder: string): void {
  try {
    const logs = readdirSync(folder)
      .filter((name) => name.endsWith(".log"))
      .map((name) => join(folder, name))
      .map((path) => ({ path, time: lstatSync(path).mtimeMs }))
      .sort((a, b) => b.time - a.time);
    for (const { path } of logs.slice(keptLogs)) rmSync(path, { force: true });
  } catch {
    // They are only in the way.
  }
}

const keptLogs = 5;

/** Creates a folder that only this user can change. @returns its path without links @throws CprkitError ERR_FILE */
export function makeFolder(folder: string): string {
  return checkedFolder(folder, { make: true }) ?? folder;
}
