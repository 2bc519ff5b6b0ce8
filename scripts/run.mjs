// `npm run build`, `demo`, `bench` and `npm test` on a fresh clone: installs what is missing, builds, and does the job.

import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const [job, ...rest] = process.argv.slice(2);

install();
build();
if (job === "build") process.exit();
else if (job === "demo") demo();
else if (job === "bench") bench();
else if (job === "test") await test();
else if (job === "pure") pure();
else fail(`expected "build", "demo", "bench", "test" or "pure", found ${JSON.stringify(job)}`, 2);

/** dist/ from src/. With --clean, from nothing: what was deleted in src/ must not be packed. */
function build() {
  if (job === "build" && rest.includes("--clean")) rmSync(join(root, "dist"), { recursive: true, force: true });
  tool("typescript/bin/tsc", "-b");
  node("scripts/library.mjs");
  const bundled = run(process.execPath, ["scripts/bundle.mjs"]);
  if (bundled !== 0) fail("the command line could not be bundled", 1);
  node("scripts/web.mjs");
  node("scripts/package/man.mjs");
}

/** With both QEMUs, fetched as the tests do, unless the words say otherwise. */
function demo() {
  const cache = resolve(process.env.CPRKIT_CACHE || join(root, ".cache"));
  const program = (version) => join(cache, "qemu", version, "qemu-system-x86_64");
  const [from, to] = [program("10.0"), program("11.1")];
  if (rest.some((word) => word.startsWith("--qemu") || word === "--no-vm" || word === "--help")) {
    node("bin/cprkit", "demo", ...rest);
    return;
  }
  if (!existsSync(from) || !existsSync(to)) process.stderr.write("fetching QEMU 10.0 and 11.1 into .cache (once)\n");
  // What it says of QEMUs that are there already is of no interest here.
  const fetched = run(process.execPath, ["scripts/qemu/fetch.mjs", "10.0", "11.1"], "ignore");
  if (fetched !== 0) process.stderr.write("QEMU 10.0 and 11.1 could not be had: going on with what is there\n");
  const pair = existsSync(from) && existsSync(to) ? ["--qemu", from, "--to", to] : [];
  node("bin/cprkit", "demo", ...pair, ...rest);
}

function bench() {
  // Without a compiler there is nothing to compare with; the command says so.
  run(process.execPath, ["scripts/bench/peers.mjs"]);
  // The recorded results are whole ones: npm test compares with them.
  const folder = rest.length === 0 ? "bench/results" : ".cache/bench";
  node("bench/dist/main.js", "--output", folder, ...rest);
  if (rest.length === 0) node("bench/commands.mjs", "--output", folder);
  node("scripts/bench/plots.mjs", folder);
  if (rest.length === 0) node("scripts/bench/table.mjs");
}

async function test() {
  // Mostly waits for the network: the checks are made meanwhile.
  const fetching = spawn(process.execPath, ["scripts/qemu/fetch.mjs"], { cwd: root, stdio: "inherit" });
  const fetched = new Promise((resolve) => fetching.once("exit", resolve).once("error", resolve));
  // Without a compiler the ratios to C skip with their reason.
  run(process.execPath, ["scripts/bench/peers.mjs"]);
  const checks = [["@biomejs/biome/bin/biome", "ci", "."], ["typescript/bin/tsc", "-p", "test"], ["knip/bin/knip.js"]];
  const code = (rest.length === 0 ? checks : []).reduce((before, words) => before || check(...words), 0);
  // Without QEMU the tests that need it skip with their reason, unless they are required.
  const isMissing = (await fetched) !== 0;
  if (code !== 0) process.exit(code);
  if (isMissing && process.env.CPRKIT_REQUIRE_QEMU === "1") fail("QEMU is required, but could not be had", 4);
  tool("vitest/vitest.mjs", "run", ...rest);
}

/** What needs no Linux: the tests of the folders that use nothing of Node. */
function pure() {
  tool("vitest/vitest.mjs", "run", "test/vmstate", "test/cpr", "test/migration", ...rest);
}

/** `npm ci` when node_modules is missing or was made from another lock file. */
function install() {
  const mark = join(root, "node_modules/.cprkit-lock");
  const lock = createHash("sha256")
    .update(readFileSync(join(root, "package-lock.json")))
    .digest("hex");
  if (existsSync(mark) && readFileSync(mark, "utf8") === lock) return;
  process.stderr.write("installing the packages of package-lock.json\n");
  if (run("npm", ["ci", "--no-audit", "--no-fund", "--ignore-scripts"]) !== 0) fail("npm ci failed", 4);
  writeFileSync(mark, lock);
}

/** A script or program of this package, run by this Node; ends this process if it fails. */
function node(...args) {
  const code = run(process.execPath, args);
  if (code !== 0) process.exit(code);
}

function tool(path, ...args) {
  node(join("node_modules", path), ...args);
}

function check(path, ...args) {
  return run(process.execPath, [join("node_modules", path), ...args]);
}

function run(program, args, stdout = "inherit") {
  // npm is a shell script on Windows.
  const shell = process.platform === "win32" && program === "npm";
  const { status, error } = spawnSync(program, args, { cwd: root, stdio: ["inherit", stdout, "inherit"], shell });
  if (error !== undefined) fail(`${program} cannot be run: ${error.message}`, 4);
  return status ?? 1;
}

function fail(message, code) {
  process.stderr.write(`cprkit: ${message}\n`);
  process.exit(code);
}
