"use strict";
// Loads the bundled command line, and keeps what V8 has compiled of it in the user's cache folder: a later start neither
// parses nor compiles it again. Whatever is wrong with the cache costs only time. CPRKIT_NO_CODE_CACHE=1 switches it off.
// Only modules that Node has loaded anyway: node:crypto or node:zlib would take longer than all that is done here. But for
// `update` node:v8, 2 ms.

const fs = require("node:fs");
const { join } = require("node:path");
const vm = require("node:vm");

const bundle = join(__dirname, "../dist/cli/bundle");

/** Runs the command line as `run` of dist/cli/main.js does. @throws {Error} when there is no bundle */
exports.run = async (words) => {
  const { id, packs, apart } = JSON.parse(fs.readFileSync(join(bundle, "index.json"), "utf8"));
  const asked = words[0] === "help" ? words[1] : words[0];
  const command = Object.hasOwn(packs, asked ?? "") ? asked : "main";
  const folder = cacheFolder(`${id}-${process.arch}-${process.versions.v8}${flags()}`);
  const fresh = [];
  /** The functions in a script; the code that is kept is what this command called. */
  const open = (pack, name) => {
    const file = join(bundle, `${pack}.pack`);
    const cachedData = folder === undefined ? undefined : readCache(join(folder, name));
    const script = new vm.Script(fs.readFileSync(file, "latin1"), { filename: file, cachedData });
    if (cachedData === undefined || script.cachedDataRejected) fresh.push({ name, script });
    return script.runInThisContext();
  };
  const isHelp = words.includes("--help") || words.includes("-h") || words[0] === "help";
  // On two cores the optimizing compiler takes time from the QEMUs, for code that runs for half a second: only what is much used.
  if (command === "update" && !isHelp) require("node:v8").setFlagsFromString("--interrupt-budget=500000");
  const functions = open(packs[command], isHelp ? `${command}+help` : command);
  const chunks = new Map();
  const load = (name) => {
    const known = chunks.get(name);
    if (known !== undefined) return known.exports;
    const module = { exports: {} };
    chunks.set(name, module);
    // What is about all commands loads those, too, from wherever they are.
    const elsewhere = apart[name] === undefined ? new Set(Object.values(packs)) : [apart[name]];
    for (const pack of functions[name] === undefined ? elsewhere : []) {
      Object.assign(functions, open(pack, `${command}+${pack}`));
      if (functions[name] !== undefined) break;
    }
    const require_ = (wanted) => (wanted.startsWith("./") ? load(wanted.slice(2)) : require(wanted));
    functions[name].call(module.exports, module.exports, require_, module, join(bundle, name), bundle);
    return module.exports;
  };
  const status = await load("main.cjs").run(words);
  // What was refused has not called what the next one will call.
  if (folder !== undefined && fresh.length > 0 && status <= 1) writeCaches(folder, fresh);
  return status;
};

/** V8 takes code only if its flags are the same: with others it would be made again at each start. */
function flags() {
  const text = [...process.execArgv, process.env.NODE_OPTIONS ?? ""].join(" ").trim();
  return text === "" ? "" : `-${Buffer.from(text).toString("base64url").slice(-100)}`;
}

/**
 * The folder for this build and this V8, if it is ours alone: what lies there is run with our rights. Under sudo HOME may be
 * somebody else's: then the home is the one of the user that we are.
 */
function cacheFolder(build) {
  if (process.env.CPRKIT_NO_CODE_CACHE === "1" || process.platform === "win32") return undefined;
  try {
    const base = baseFolder();
    const all = join(base, "cprkit");
    const folder = join(all, `code-${build}`);
    // Not "recursive", which never ends below /proc.
    for (const each of [base, all, folder]) if (!fs.existsSync(each)) fs.mkdirSync(each, { mode: 0o700 });
    return isOurs(all) && isOurs(folder) ? folder : undefined;
  } catch {
    return undefined;
  }
}

function baseFolder() {
  const { XDG_CACHE_HOME: named, HOME: home } = process.env;
  if (named?.startsWith("/") && isOurs(named)) return named;
  // The system's list of users is read only where HOME does not say it: a dozen system calls, or a server's answer.
  const isHome = home?.startsWith("/") && fs.existsSync(home) && isOurs(home);
  return join(isHome ? home : require("node:os").userInfo().homedir, ".cache");
}

function isOurs(folder) {
  const { uid, mode } = fs.lstatSync(folder);
  return uid === process.geteuid() && (mode & 0o170022) === 0o040000;
}

/**
 * V8 checks that the code fits it and its source's length, not that it is whole: it is there twice, and both must be the
 * same. (A hash would take the loading of node:crypto.)
 */
function readCache(path) {
  let fd;
  try {
    fd = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW);
    if (fs.fstatSync(fd).uid !== process.geteuid()) return undefined;
    const file = fs.readFileSync(fd);
    const data = file.subarray(0, file.length / 2);
    return data.equals(file.subarray(data.length)) ? data : undefined;
  } catch {
    return undefined;
  } finally {
    if (fd !== undefined) fs.closeSync(fd);
  }
}

function writeCaches(folder, fresh) {
  for (const { name, script } of fresh) {
    const path = join(folder, name);
    const part = `${path}.${process.pid}`;
    try {
      const data = script.createCachedData();
      const fd = fs.openSync(part, "wx", 0o600);
      try {
        fs.writeFileSync(fd, Buffer.concat([data, data]));
        // Else there may be a file of zeros of this name when the machine's power fails.
        fs.fsyncSync(fd);
      } finally {
        fs.closeSync(fd);
      }
      fs.renameSync(part, path);
    } catch {
      // A full disk, a folder that was removed: the next start compiles again.
      fs.rmSync(part, { force: true });
    }
  }
  removeOld(join(folder, ".."), folder);
}

/** Those of builds that nobody has started for a month. */
function removeOld(all, own) {
  try {
    for (const name of fs.readdirSync(all)) {
      const folder = join(all, name);
      if (!name.startsWith("code-") || folder === own) continue;
      if (Date.now() - fs.statSync(folder).mtimeMs > 30 * 86_400_000) fs.rmSync(folder, { recursive: true });
    }
  } catch {
    // It will be tried again.
  }
}
