// The head of the single file (single.mjs puts PACKED, what it carries, before it): what its modules look for beside
// themselves elsewhere. System calls need koffi's library, which the dynamic loader takes from a file only: it is laid into
// a folder that is this user's alone, once, and compared with its hash at each start.

const { createHash } = require("node:crypto");
const fs = require("node:fs");
const { createRequire } = require("node:module");
const { tmpdir, userInfo } = require("node:os");
const { dirname, join } = require("node:path");
const vm = require("node:vm");
const { brotliDecompressSync } = require("node:zlib");

/** Started as an executable of its own: there is no node and no script. */
const isExecutable = process.execPath === __filename;

const [nodeMajor, nodeMinor] = process.versions.node.split(".").map(Number);
if (nodeMajor < 20 || (nodeMajor === 20 && nodeMinor < 19)) {
  process.stderr.write(`cprkit: Node ${process.versions.node} is too old: 20.19 or later is needed\n`);
  process.exit(4);
}

/** In place of createRequire(import.meta.url) of the modules. */
function cprkitRequire(name) {
  if (name === "koffi") return requireHere(koffiFile());
  // Each caller gets a copy of its own.
  if (name === "xz-decompress") return evaluate(unpacked(PACKED.xz).toString("utf8"), name);
  return requireHere(name);
}
cprkitRequire.resolve = (name) => (name === "koffi" ? koffiFile() : name);
cprkitRequire.cache = {};

const requireHere = createRequire(__filename);

function evaluate(code, name) {
  const module = { exports: {} };
  vm.runInThisContext(`(function (module, exports, require) {${code}\n})`, { filename: name })(
    module,
    module.exports,
    requireHere,
  );
  return module.exports;
}

let koffi;

/** Where koffi lies. @throws {Error} what was in the way of each place */
function koffiFile() {
  if (koffi !== undefined) return koffi;
  const failures = [];
  for (const place of [besideUs, ofParent, inCache, inRuntimeFolder, inTemporaryFolder]) {
    try {
      const folder = place();
      if (folder === undefined) continue;
      const file = join(folder, "src/koffi/index.cjs");
      // A folder from which nothing may be executed is none.
      requireHere(file);
      koffi = file;
      return file;
    } catch (error) {
      failures.push(error.message.split("\n")[0]);
    }
  }
  throw new Error(failures.join(", "));
}

/** As a package of the system lays it: with the library for its kind of system alone. */
function besideUs() {
  const folder = join(dirname(__filename), "koffi");
  if (!fs.existsSync(folder) || !(isOurs(folder) || isOurs(folder, 0))) return undefined;
  const isFine = (name) => isThere(folder, name) || (name.endsWith(".node") && !fs.existsSync(join(folder, name)));
  return Object.keys(PACKED.koffi).every(isFine) ? folder : undefined;
}

/** The temporary one of the cprkit that has started us. */
function ofParent() {
  const folder = process.env.CPRKIT_KOFFI;
  return folder?.startsWith("/") && isOurs(folder) && isWhole(folder) ? folder : undefined;
}

/** Under sudo HOME is somebody else's, so the home is the one of the user that we are. */
function inCache() {
  const named = process.env.XDG_CACHE_HOME;
  const base = named?.startsWith("/") && isOurs(named) ? named : join(userInfo().homedir, ".cache");
  return laidIn(base, join(base, "cprkit"));
}

function inRuntimeFolder() {
  const named = process.env.XDG_RUNTIME_DIR;
  return named?.startsWith("/") && isOurs(named) ? laidIn(named, join(named, "cprkit")) : undefined;
}

/**
 * A new one each time: in a folder for all, a name that is known could be somebody else's. Where others could put theirs in
 * its place, none.
 */
function inTemporaryFolder() {
  const { uid, mode } = fs.statSync(tmpdir());
  if ((uid !== 0 && uid !== process.geteuid()) || ((mode & 0o022) !== 0 && (mode & 0o1000) === 0)) {
    throw new Error(`${tmpdir()}: others may replace what is in it`);
  }
  const folder = fs.mkdtempSync(join(tmpdir(), "cprkit-"));
  // First of all: another listener ends the process at once.
  process.prependOnceListener("exit", () => fs.rmSync(folder, { recursive: true, force: true }));
  lay(folder);
  process.env.CPRKIT_KOFFI = folder;
  return folder;
}

function laidIn(base, all) {
  for (const each of [base, all]) if (!fs.existsSync(each)) fs.mkdirSync(each, { mode: 0o700 });
  if (!isOurs(all)) return undefined;
  const folder = join(all, `koffi-${PACKED.id}`);
  if (fs.existsSync(folder)) {
    if (!isOurs(folder)) return undefined;
    if (isWhole(folder)) return folder;
    fs.rmSync(folder, { recursive: true });
  }
  // Whole, or not at all.
  const part = fs.mkdtempSync(`${folder}.`);
  try {
    lay(part);
    fs.renameSync(part, folder);
  } catch (error) {
    fs.rmSync(part, { recursive: true, force: true });
    // Another start was quicker.
    if (!isOurs(folder) || !isWhole(folder)) throw error;
  }
  return folder;
}

function lay(folder) {
  for (const [name, { data }] of Object.entries(PACKED.koffi)) {
    fs.mkdirSync(join(folder, dirname(name)), { recursive: true, mode: 0o700 });
    fs.writeFileSync(join(folder, name), unpacked(data), { mode: 0o600, flag: "wx" });
  }
}

function isWhole(folder) {
  return Object.keys(PACKED.koffi).every((name) => isThere(folder, name));
}

/** As it should be. */
function isThere(folder, name) {
  try {
    const bytes = fs.readFileSync(join(folder, name));
    return createHash("sha256").update(bytes).digest("hex") === PACKED.koffi[name].sha256;
  } catch {
    return false;
  }
}

function isOurs(folder, user = process.geteuid()) {
  const { uid, mode } = fs.lstatSync(folder);
  return uid === user && (mode & 0o170022) === 0o040000;
}

function unpacked(text) {
  return brotliDecompressSync(Buffer.from(text, "base64"));
}

/** As `node -e PROGRAM WORDS` does, for which cprkit starts itself where there is no other Node. */
function runProgram(program, words) {
  process.argv = [process.execPath, ...words];
  vm.runInThisContext(`(function (require) {${program}\n})`, { filename: "[eval]" })(requireHere);
}

module.exports = { cprkitRequire, isExecutable, runProgram };
