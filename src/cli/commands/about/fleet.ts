// cprkit fleet: hands over to the package cprkit-fleet, if that is installed beside this one. It is never looked for from
// the current folder, which may be anybody's.

import { existsSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { CprkitError } from "../../../vmstate/error.ts";

/** For the list of commands. */
export function fleetCommand(): Command {
  return new Command("fleet").description("Roll a new QEMU out over many hosts (package cprkit-fleet).");
}

/**
 * Runs the fleet's own command line. @returns its exit code
 * @throws CprkitError ERR_USAGE when the package is not installed, ERR_FILE when somebody else's lies in its place
 */
export async function runFleet(argv: readonly string[]): Promise<number> {
  const own = new URL("../../../../", import.meta.url);
  // In node_modules a package is beside this one, or in this one's own node_modules.
  const folder = ["../cprkit-fleet/", "node_modules/cprkit-fleet/"]
    .map((path) => new URL(path, own))
    .find((url) => existsSync(new URL("package.json", url)));
  if (folder === undefined) {
    throw new CprkitError(
      "ERR_USAGE",
      `the package cprkit-fleet is not installed beside this one (${fileURLToPath(own)}): \`npm install cprkit-fleet\` ` +
        "there, or with --global as cprkit itself",
    );
  }
  const file = new URL("load.cjs", folder);
  // Beside one file in /tmp anybody may have put something of this name.
  const { uid } = statSync(file);
  // The one file has no package around it.
  const mark = new URL("package.json", own);
  if (![0, process.geteuid?.(), existsSync(mark) ? statSync(mark).uid : 0].includes(uid)) {
    throw new CprkitError("ERR_FILE", `${fileURLToPath(file)} belongs to another user (uid ${uid}): it is not run`);
  }
  const load = createRequire(folder)("./load.cjs") as () => Promise<{ run(argv: readonly string[]): Promise<number> }>;
  return (await load()).run(argv);
}
