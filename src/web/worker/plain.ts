// Results as the page gets them: what can be sent between two threads.

import type { Migration } from "../../migration/index.ts";
import { isCprkitError } from "../../vmstate/error.ts";
import type { Problem, ShownMigration } from "./protocol.ts";

/** An error in plain data; also of one that is not cprkit's. */
export function problemOf(error: unknown): Problem {
  if (isCprkitError(error)) return error.toJSON();
  const message = error instanceof Error ? error.message : String(error);
  return { code: error instanceof DOMException && error.name === "AbortError" ? "ABORTED" : "ERR_BROWSER", message };
}

/** The migration without the decoder's own: descriptions are functions, and bodies are in the file. */
export function shownMigration(migration: Migration): ShownMigration {
  const { sections, problems, stopped, vmdescription } = migration;
  return {
    ...migration,
    sections: sections.map((section) => ({ ...section, device: undefined })),
    vmdescription: vmdescription && { ...vmdescription, text: "" },
    problems: problems.map(problemOf),
    stopped: stopped && problemOf(stopped),
  };
}
