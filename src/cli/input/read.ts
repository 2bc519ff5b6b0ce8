// Reads a migration stream for a command, with progress where it takes a while.

import type { OpenSource } from "../../files/index.ts";
import { type Migration, type ReadMigrationOptions, readMigration } from "../../migration/index.ts";
import { sizeText } from "../view/values.ts";

/** A JSON description or dump is a few MB. */
export const maxJsonBytes = 256 * 1024 * 1024;

/** Progress is shown after this many ms, and then at this interval in ms. */
const patience = 800;
const interval = 100;

/** Reads the stream from `input`, and does not close it. Progress goes to standard error, if that is a terminal. */
export async function readWithProgress(
  input: OpenSource,
  options: ReadMigrationOptions,
  quiet: boolean,
): Promise<Migration> {
  let progress: { step(text: string): void; stop(): void } | undefined;
  let next = performance.now() + patience;
  let loading = false;
  let over = false;
  const onProgress = (offset: number): void => {
    const now = performance.now();
    if (now < next) return;
    next = now + interval;
    const of = input.size === undefined ? "" : ` of ${sizeText(input.size)}`;
    if (progress !== undefined) progress.step(`${sizeText(offset)}${of}`);
    else if (!loading) {
      loading = true;
      // Loaded only when something takes long: it costs a short command more than its work.
      void import("../progress.ts").then(({ startProgress }) => {
        if (!over) progress = startProgress(`${sizeText(offset)}${of}`, quiet);
      });
    }
  };
  try {
    return await readMigration(input.source, quiet || !process.stderr.isTTY ? options : { ...options, onProgress });
  } finally {
    over = true;
    progress?.stop();
  }
}
