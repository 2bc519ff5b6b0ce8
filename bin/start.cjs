"use strict";
// Loads the bundled command line, and keeps what V8 has compiled of it in the user's cache folder: a later start neither
// parses nor compiles it again. Whatever is wrong with the cache costs only time. CPRKIT_NO_CODE_CACHE=1 switches it off.

const { createHash } = require("node:crypto");
const fs = require("node:fs");
const { userInfo } = require("node:os");
const { join } = require("node:path");
const { cachedDataVersionTag } = require("node:v8");
const vm = require("node:vm");

const bundle = join(__dirname, "../dist/cli/bundle");

/** The function `run` of dist/cli/main.js. @throws {Error} when there is no bundle */
exports.load = () => {
  const { id } = JSON.parse(fs.readFileSync(join(bundle, "index.json"), "utf8"));
  const folder = cacheFolder(`${id}-${process.arch}-${cachedDataVersionTag().toString(16)}`);
  const chunks = new Map();
  const fresh = [];
  const require_ = (name) => {
    const known = chunks.get(name);
    if (known !== undefined) return known.exports;
    const module = { exports: {} };
    chunks.set(name, module);
    const file = join(bundle, name);
    const cachedData = folder === undefined ? undefined : readCache(join(folder, name));
    const script = new vm.Script(
      `(function (exports, require, module, __filename, __dirname) {${fs.readFileSync(file, "utf8")}\n})`,
      { filename: file, cachedData },
    );
    if (folder !== undefined && (cachedData === undefined || script.cachedDataRejected)) fresh.push({ name, script });
    const body = script.runInThisContext();
    const load = (wanted) => (wanted.startsWith("./") ? require_(wanted.slice(2)) : require(wanted));
    body.call(module.exports, module.exports, load, module, file, bundle);
    return module.exports;
  };
  const { run } = require_("main.cjs");
  return async (words) => {
    try {
      return await run(words);
    } finally {
      if (folder !== undefined && fresh.length > 0) writeCaches(folder, fresh);
    }
  };
};

/**
 * The folder for this build and this V8, if it is ours alone: what lies there is run with our rights. Under sudo HOME is
 * somebody else's, so the home is the one of the user that we are.
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
  const named = process.env.XDG_CACHE_HOME;
  return named?.startsWith("/") && isOurs(named) ? named : join(userInfo().homedir, ".cache");
}

function isOurs(folder) {
  const { uid, mode } = fs.lstatSync(folder);
  return uid === process.geteuid() && (mode & 0o170022) === 0o040000;
}

const hashBytes = 32;

/** V8 checks that the code fits it, not that it is whole: a hash in front does. */
function readCache(path) {
  let fd;
  try {
    fd = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW);
    if (fs.fstatSync(fd).uid !== process.geteuid()) return undefined;
    const file = fs.readFileSync(fd);
    const data = file.subarray(hashBytes);
    return hashOf(data).equals(file.subarray(0, hashBytes)) ? data : undefined;
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
      fs.writeFileSync(part, Buffer.concat([hashOf(data), data]), { flag: "wx", mode: 0o600 });
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

function hashOf(data) {
  return createHash("sha256").update(data).digest();
}
