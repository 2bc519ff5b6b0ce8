// Tests start real processes from dist/: build it once before them.

import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

export function setup(): void {
  try {
    execFileSync(process.execPath, [fileURLToPath(new URL("../../scripts/run.mjs", import.meta.url)), "build"], {
      stdio: "inherit",
    });
  } catch (error) {
    // `npm test` has built before and would have failed; a run by hand may go on with what could be built.
    if (process.env["CI"] !== undefined) throw error;
    process.stderr.write("cprkit: the build failed; tests that start processes use an older one\n");
  }
}
