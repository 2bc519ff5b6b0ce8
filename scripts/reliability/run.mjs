// `npm run kills` and `npm run soak`: real VMs updated again and again, in a process namespace of their own, so that
// whatever is left behind is seen. Options: see --help of each.

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const [job, ...rest] = process.argv.slice(2);

if (process.env.CPRKIT_OWN_NAMESPACE !== "1") {
  prepare();
  process.exit(again());
}
const { runnerImport } = await import("vite");
const { module } = await runnerImport(resolve(root, `scripts/reliability/${job}.ts`), {
  configFile: false,
  logLevel: "error",
});
process.exitCode = await module.main(rest);

/** A built checkout and the QEMUs. */
function prepare() {
  for (const words of [["scripts/run.mjs", "build"], ["scripts/qemu/fetch.mjs"]]) {
    const { status } = spawnSync(process.execPath, words, { cwd: root, stdio: ["ignore", "ignore", "inherit"] });
    if (status !== 0) process.exit(4);
  }
}

/**
 * This program once more, as the first process of a pid namespace: there every process is one of ours, and all end
 * with it. A user without root gets the namespace together with a user namespace.
 */
function again() {
  const user = process.getuid() === 0 ? [] : ["--user", "--map-root-user"];
  const words = [
    ...user,
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    process.execPath,
    ...process.argv.slice(1),
  ];
  const env = { ...process.env, CPRKIT_OWN_NAMESPACE: "1" };
  if (!existsSync("/usr/bin/unshare")) {
    process.stderr.write(
      "cprkit: unshare(1) of util-linux is missing: it gives the run a process namespace of its own\n",
    );
    return 4;
  }
  return spawnSync("unshare", words, { cwd: root, stdio: "inherit", env }).status ?? 4;
}
