// The manual pages, man/*.1, from the commands as they were built.

import { spawnSync } from "node:child_process";
import { existsSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const page = join(root, "man/cprkit.1");
const bundle = join(root, "dist/cli/bundle/index.json");

if (!existsSync(page) || statSync(page).mtimeMs < statSync(bundle).mtimeMs) {
  rmSync(join(root, "man"), { recursive: true, force: true });
  const { status } = spawnSync(process.execPath, ["bin/cprkit", "man", "--output", "man"], {
    cwd: root,
    stdio: "inherit",
    env: { ...process.env, SOURCE_DATE_EPOCH: dateOfSource() },
  });
  if (status !== 0) process.exit(1);
}

/** The same sources give the same pages. */
function dateOfSource() {
  const named = process.env.SOURCE_DATE_EPOCH;
  if (named !== undefined) return named;
  const { stdout } = spawnSync("git", ["log", "-1", "--format=%ct"], { cwd: root, encoding: "utf8" });
  return /^\d+\n$/.test(stdout ?? "") ? stdout.trim() : String(Math.floor(Date.now() / 1000));
}
