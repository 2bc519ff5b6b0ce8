// What `ensureUpdated` has answered for a key, kept beside the VM's journal: a caller who asks again after a lost answer
// gets the same one. Of an update whose caller was killed before it could answer, the journal says what is known.

import { createHash } from "node:crypto";
import { existsSync, readdirSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { z } from "zod";
import { CprkitError } from "../../../vmstate/error.ts";
import { publicName } from "../../command-line/derive.ts";
import { realPath, throughRootOf } from "../../namespaces/paths.ts";
import type { UpdateModeName } from "../../vm/binary.ts";
import { vmFolder } from "../../vm/state-dir.ts";
import { checkedFolder, readOwnFile, replaceOwnFile } from "./checked-folder.ts";
import { type Journal, listFolders, listJournals, makeFolder } from "./journal.ts";

/** What is known of an update whose caller was killed before it could report. */
export interface JournalReport {
  readonly mode: UpdateModeName;
  /** ISO 8601. */
  readonly startedAt: string;
  /** Versions such as "10.0.2". */
  readonly from: string;
  readonly to: string | undefined;
  readonly sourcePid: number;
  readonly pid: number | undefined;
  /** As in `UpdateReport`; undefined also when the caller was killed before it was written down. */
  readonly downtimeMs: number | undefined;
  readonly stopUs: number | undefined;
  readonly resumeUs: number | undefined;
  readonly log: string;
}

/** So many are kept for each VM, the newest ones. */
const most = 20;

const stored = z.object({ key: z.string(), report: z.record(z.string(), z.unknown()) });

/** The answer for `key` in a VM's folder. @throws CprkitError ERR_FILE when the folder is not ours alone */
export function reportFor(folder: string, key: string): Readonly<Record<string, unknown>> | undefined {
  if (!existsSync(folder) || checkedFolder(folder, { make: false }) === undefined) return undefined;
  const text = readOwnFile(fileOf(folder, key));
  if (text === undefined) return undefined;
  try {
    const parsed = stored.safeParse(JSON.parse(text));
    return parsed.success && parsed.data.key === key ? parsed.data.report : undefined;
  } catch {
    // It was cut off: as if there were none, for asking again does no harm.
    return undefined;
  }
}

/**
 * The QMP socket of the VM whose process had been `pid` when it was asked for with `key`, by what was answered then, or by
 * the journal where nobody could answer.
 *
 * @throws CprkitError ERR_FILE when others can write to the state folder
 */
export function qmpOfRequest(base: string, key: string, pid: number): string | undefined {
  const hadPid = { pid: z.literal(pid) };
  const answered = z
    .object({ qmp: z.string() })
    .and(
      z.union([
        z.object(hadPid),
        z.object({ report: z.object({ sourcePid: hadPid.pid }) }),
        z.object({ fromJournal: z.object({ sourcePid: hadPid.pid }) }),
      ]),
    );
  for (const folder of listFolders(base)) {
    const answer = answered.safeParse(isOurs(folder) ? reportFor(folder, key) : undefined);
    if (answer.success) return answer.data.qmp;
  }
  const { journals } = listJournals(base);
  const found = journals.find(
    ({ journal: { key: asked, source, destination } }) =>
      asked === key && (source.pid === pid || destination?.pid === pid),
  );
  return found?.journal.publicQmp;
}

/** @throws CprkitError ERR_FILE */
export function keepReport(folder: string, key: string, report: object): void {
  makeFolder(folder);
  const path = fileOf(folder, key);
  try {
    replaceOwnFile(path, `${JSON.stringify({ key, report })}\n`);
  } catch (cause) {
    throw new CprkitError("ERR_FILE", `${path}: the answer can't be kept: ${String(cause)}`, { cause });
  }
  const older = readdirSync(folder)
    .filter((name) => /^key-[0-9a-f]{32}$/.test(name))
    .map((name) => ({ name, time: statSync(join(folder, name)).mtimeMs }))
    .sort((a, b) => b.time - a.time)
    .slice(most);
  for (const { name } of older) rmSync(join(folder, name), { force: true });
}

/**
 * Keeps the answer that the caller of a finished update could not keep any more. To be called under a lock of this VM,
 * before that update's journal is removed or replaced.
 *
 * @throws CprkitError ERR_FILE
 */
export function keepFinished(folder: string, journal: Journal | undefined): void {
  if (journal?.key === undefined) return;
  const { outcome, key, publicQmp, source, destination } = journal;
  if (outcome !== "updated" && outcome !== "lost") return;
  const { pid } = journal.mode === "cpr-exec" ? source : (destination ?? {});
  // In a mount namespace of its own a QEMU has another name, and so another folder, in each generation.
  const qmp = pid === undefined ? publicQmp : throughRootOf(publicQmp, source.pid, pid);
  const place = vmFolder(dirname(folder), publicName(realPath(qmp)));
  if (reportFor(place, key) !== undefined || reportFor(folder, key) !== undefined) return;
  const fromJournal = journalReport(journal, pid);
  const { mode, from, to } = fromJournal;
  const text =
    outcome === "updated"
      ? `QEMU ${from} was replaced by ${to ?? "the new one"} (${mode}); who asked for it ended before it could report`
      : (journal.message ?? "no QEMU runs the guest");
  keepReport(place, key, { result: outcome, text, ...(outcome === "updated" ? { pid } : {}), qmp, fromJournal });
}

function journalReport(journal: Journal, pid: number | undefined): JournalReport {
  const { mode, startedAt, source, destination, log } = journal;
  const { downtimeMs, stopUs, resumeUs } = journal.pause ?? {};
  const to = journal.to ?? destination?.version;
  const times = { downtimeMs, stopUs, resumeUs };
  return { mode, startedAt, from: source.version, to, sourcePid: source.pid, pid, ...times, log };
}

function isOurs(folder: string): boolean {
  try {
    return checkedFolder(folder, { make: false }) !== undefined;
  } catch {
    return false;
  }
}

function fileOf(folder: string, key: string): string {
  return join(folder, `key-${createHash("sha256").update(key).digest("hex").slice(0, 32)}`);
}
