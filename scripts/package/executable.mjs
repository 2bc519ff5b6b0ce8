// The command line as one program that needs nothing, package/cprkit-linux-ARCH: the Node that runs this, with the single
// file inside (Node's "single executable application").

import { spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import postject from "postject";
import { root } from "./single.mjs";

/** Node's mark: where it looks for what is inside. */
const fuse = "NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2";

/** @param {string} script the single file @param {string} file what is written @returns {Promise<void>} */
export async function writeExecutable(script, file) {
  const folder = mkdtempSync(join(tmpdir(), "cprkit-executable-"));
  try {
    const blob = join(folder, "blob");
    const config = { main: script, output: blob, disableExperimentalSEAWarning: true };
    writeFileSync(join(folder, "config.json"), JSON.stringify(config));
    run(process.execPath, ["--experimental-sea-config", join(folder, "config.json")]);
    const program = join(folder, "program");
    // Without its symbols it is an eighth smaller. Afterwards would be too late: strip(1) destroys what is inside.
    const { status } = spawnSync("strip", ["-o", program, process.execPath], { stdio: "ignore" });
    if (status !== 0) copyFileSync(process.execPath, program);
    chmodSync(program, 0o755);
    // It warns that some notes of the program have no name, which is so.
    const { log, warn, error } = console;
    Object.assign(console, { log: () => {}, warn: () => {}, error: () => {} });
    try {
      await postject.inject(program, "NODE_SEA_BLOB", readFileSync(blob), { sentinelFuse: fuse });
    } finally {
      Object.assign(console, { log, warn, error });
    }
    move(program, file);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The licence of the Node that is inside, where this one has it. @returns {string | undefined} */
export function nodeLicense() {
  const base = join(dirname(process.execPath), "..");
  return ["LICENSE", "share/doc/nodejs/LICENSE", "share/doc/node/LICENSE"]
    .map((name) => join(base, name))
    .find((path) => existsSync(path) && readFileSync(path, "utf8").startsWith("Node.js is licensed"));
}

/** To another file system, too. */
function move(from, to) {
  copyFileSync(from, `${to}.part`);
  chmodSync(`${to}.part`, 0o755);
  renameSync(`${to}.part`, to);
}

function run(program, args) {
  const { status, stderr } = spawnSync(program, args, { cwd: root, encoding: "utf8" });
  if (status !== 0) throw new Error(`${program} ${args[0]} failed: ${stderr}`);
}
