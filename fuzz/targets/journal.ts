// A journal as it may lie on the disk. "/vm" in it stands for the folder that it is in.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { readJournal } from "../../src/qemu/update/record/journal.ts";
import { type Target, unlessRefused } from "../target.ts";

const folder = mkdtempSync(join(tmpdir(), "cprkit-fuzz-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

export const fuzz: Target = (input) => {
  const text = Buffer.from(input).toString("utf8").replaceAll("/vm", folder);
  writeFileSync(join(folder, "journal.json"), text, { mode: 0o600 });
  const journal = unlessRefused(() => readJournal(folder), undefined, ["ERR_FILE"]);
  if (journal === undefined) return;
  const { files, log, stateFile = log } = journal;
  for (const path of [...files, log, stateFile]) {
    if (dirname(path) !== folder) throw new Error(`another VM's file was believed: ${path}`);
  }
};
