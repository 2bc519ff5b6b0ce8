// What `ensureUpdated` has reported for a key, kept beside the VM's journal: a caller who asks again after a lost answer
// gets the same one.

import { createHash } from "node:crypto";
import { existsSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { checkedFolder, readOwnFile, replaceOwnFile } from "../update/record/checked-folder.ts";
import { makeFolder } from "../update/record/journal.ts";

/** So many are kept for each VM, the newest ones. */
const most = 20;

const stored = z.object({ key: z.string(), report: z.record(z.string(), z.unknown()) });

/** The report for `key` in a VM's folder. @throws CprkitError ERR_FILE when the folder is not ours alone */
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

/** @throws CprkitError ERR_FILE */
export function keepReport(folder: string, key: string, report: object): void {
  makeFolder(folder);
  replaceOwnFile(fileOf(folder, key), `${JSON.stringify({ key, report })}\n`);
  const older = readdirSync(folder)
    .filter((name) => /^key-[0-9a-f]{32}$/.test(name))
    .map((name) => ({ name, time: statSync(join(folder, name)).mtimeMs }))
    .sort((a, b) => b.time - a.time)
    .slice(most);
  for (const { name } of older) rmSync(join(folder, name), { force: true });
}

function fileOf(folder: string, key: string): string {
  return join(folder, `key-${createHash("sha256").update(key).digest("hex").slice(0, 32)}`);
}
