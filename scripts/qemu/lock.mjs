// One run at a time, by flock(1): the kernel lets go of the lock when its holder dies, so none is ever stale.
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";

const BUSY = 75;

/**
 * Runs this same program again while holding the lock, and gives its exit code; `undefined` when this process is
 * that second run already and should do the work.
 *
 * @param {string} file lock file; its folder is made
 * @param {(line: string) => void} say told when another run has to be waited for
 * @returns {number | undefined}
 */
export function rerunUnderLock(file, say) {
  if (process.env.CPRKIT_FETCH_LOCK === file) return undefined;
  mkdirSync(dirname(file), { recursive: true });
  const [script = "", ...args] = process.argv.slice(1);
  const attempt = (/** @type {string[]} */ flags) =>
    spawnSync("flock", [...flags, "-E", String(BUSY), file, process.execPath, script, ...args], {
      stdio: "inherit",
      env: { ...process.env, CPRKIT_FETCH_LOCK: file },
    });
  let result = attempt(["-n"]);
  if (result.status === BUSY) {
    say("another run is fetching: waiting for it");
    result = attempt(["-w", "1800"]);
  }
  if (result.error) throw result.error;
  return result.status ?? 4;
}
