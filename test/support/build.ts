// Tests start real processes from dist/: build it once before them.

import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Builds; what it returns removes the folder for what the tests put where other users can read it. */
export function setup(): () => void {
  // What tests compare has no colours.
  delete process.env["FORCE_COLOR"];
  try {
    execFileSync(process.execPath, [fileURLToPath(new URL("../../scripts/run.mjs", import.meta.url)), "build"], {
      stdio: "inherit",
    });
  } catch (error) {
    // `npm test` has built before and would have failed; a run by hand may go on with what could be built.
    if (process.env["CI"] !== undefined) throw error;
    process.stderr.write("cprkit: the build failed; tests that start processes use an older one\n");
  }
  const folder = mkdtempSync(join(tmpdir(), "cprkit-tests-"));
  chmodSync(folder, 0o755);
  process.env["CPRKIT_TEST_FOLDER"] = folder;
  return () => rmSync(folder, { recursive: true, force: true });
}
