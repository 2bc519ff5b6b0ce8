// Reads a migration stream for a command, with progress where it takes a while.

import { compressions } from "../../files/unwrap/compression.ts";
import { type Migration, type ReadMigrationOptions, readMigration } from "../../migration/index.ts";
import { isPageSizeDoubtful, withLikelySize } from "../../migration/page-size.ts";
import { sizeText } from "../../vmstate/shown/values.ts";
import { isTerminal } from "../output.ts";
import { type Progress, startProgress } from "../progress.ts";
import type { Input } from "./open.ts";

/** A JSON description or dump is a few MB. */
export const maxJsonBytes = 256 * 1024 * 1024;

/** What compressed input may unpack to, beside guest RAM: this much, or so many times its own size. */
const leastState = 64 * 1024 * 1024;
const maxRatio = 16;

/** No limit for what is not compressed: it has the bytes that it claims. */
function maxStateOf({ wrapping, fileSize }: Input): number | undefined {
  if (!wrapping.some(({ kind }) => compressions.some((one) => one === kind))) return undefined;
  return Math.max(leastState, maxRatio * (fileSize ?? 0));
}

/** Progress is shown after this many ms, and then at this interval in ms. */
const patience = 800;
const interval = 100;

/**
 * Reads the stream from `input`, and does not close it. Damaged compression is what stopped it, then. Progress goes to
 * standard error, if that is a terminal.
 */
export async function readWithProgress(
  input: Input,
  asked: Omit<ReadMigrationOptions, "offset">,
  quiet: boolean,
): Promise<Migration> {
  const options: ReadMigrationOptions = { ...asked, offset: input.offset, toEnd: true, maxState: maxStateOf(input) };
  let progress: Progress | undefined;
  let next = now() + patience;
  const onProgress = (offset: number): void => {
    if (now() < next) return;
    next = now() + interval;
    const text = `${sizeText(offset)}${input.size === undefined ? "" : ` of ${sizeText(input.size)}`}`;
    if (progress === undefined) progress = startProgress(text, quiet);
    else progress.step(text);
  };
  try {
    const onStep = quiet || !isTerminal("stderr") ? {} : { onProgress };
    const migration = await readMigration(input.source, { ...options, ...onStep });
    const damage = input.problem();
    if (damage !== undefined) return { ...migration, complete: false, stopped: damage };
    const { reopen } = input;
    if (reopen === undefined || asked.pageSize !== undefined || !isPageSizeDoubtful(migration)) return migration;
    return await withLikelySize(migration, async (pageSize) => {
      const again = await reopen();
      try {
        return await readMigration(again.source, { ...options, pageSize, onPage: undefined });
      } finally {
        again.close();
      }
    });
  } catch (error) {
    // Not even the first bytes came.
    throw input.problem() ?? error;
  } finally {
    progress?.stop();
  }
}

/** In ms; `performance` would load a module of Node's that a short command does not need. */
function now(): number {
  return process.uptime() * 1000;
}
