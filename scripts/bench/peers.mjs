// Builds the C programs of bench/peers into .cache/peers. GLib's headers come from the system
// where it has them; else Debian's packages are unpacked into .cache/peers/glib, system untouched.
//
//   node scripts/bench/peers.mjs
//
// The last line on stdout is the folder of the binaries. Exit codes: 0 built, 4 the system lacks something.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { debianMirror } from "../qemu/debian.mjs";

const project = fileURLToPath(new URL("../..", import.meta.url));
const sources = join(project, "bench", "peers");
const out = join(project, ".cache", "peers");

try {
  needTool("make");
  needTool("gcc");
  const glib = systemHasGlib() ? [] : privateGlibFlags(join(out, "glib"));
  build(glib);
  console.log(out);
} catch (error) {
  console.error(`peers: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 4;
}

/** What make prints goes to stderr, so that stdout is the folder alone. */
function build(variables) {
  const args = ["--no-print-directory", "-C", sources, `OUT=${relative(sources, out)}`, ...variables];
  try {
    execFileSync("make", args, { stdio: ["ignore", process.stderr, "inherit"] });
  } catch {
    throw new Error("the C programs did not build; the compiler's messages are above");
  }
}

function needTool(name) {
  if (!canRun(name, ["--version"])) {
    throw new Error(`${name} was not found; the C peers need it (Debian: apt-get install gcc libc6-dev make)`);
  }
}

function systemHasGlib() {
  return canRun("pkg-config", ["--exists", "glib-2.0"]);
}

/** make variables that build against an unpacked GLib in `folder`, which is filled once. */
function privateGlibFlags(folder) {
  const root = join(folder, "root");
  if (!existsSync(root)) unpackGlib(folder, root);
  const lib = join(root, "usr", "lib", run("gcc", ["-print-multiarch"]).trim());
  if (!existsSync(join(lib, "libglib-2.0.so"))) {
    throw new Error(`no libglib-2.0.so in ${lib}; remove ${folder} and try again`);
  }
  // Relative, so that a project folder with a space in its name, or one that is moved, works.
  const headers = [join(root, "usr", "include", "glib-2.0"), join(lib, "glib-2.0", "include")];
  const cflags = headers.map((each) => `-isystem ${relative(sources, each)}`).join(" ");
  // DT_RPATH, not DT_RUNPATH: it serves the libraries that GLib itself needs, too.
  const rpath = `-Wl,--disable-new-dtags,-rpath,'$$ORIGIN/${relative(out, lib)}'`;
  return [`GLIB_CFLAGS=${cflags}`, `GLIB_LIBS=-L${relative(sources, lib)} -lglib-2.0 ${rpath}`];
}

function unpackGlib(folder, root) {
  if (!canRun("apt-get", ["--version"]) || !canRun("dpkg-deb", ["--version"])) {
    throw new Error("GLib's headers are missing, and only Debian's packages can be unpacked here; install glib-2.0's");
  }
  console.error("peers: GLib's headers are not installed; unpacking Debian's packages into .cache (once)");
  rmSync(folder, { recursive: true, force: true });
  const debs = join(folder, "debs");
  for (const each of [debs, join(folder, "apt/lists/partial"), join(folder, "apt/cache/archives/partial")]) {
    mkdirSync(each, { recursive: true });
  }
  const apt = aptOptions(join(folder, "apt"));
  const get = (args) => runIn(debs, "apt-get", [...apt, "-qq", ...args]);
  try {
    get(["update"]);
    get(["download", "libglib2.0-dev"]);
    // The runtime library's package is named differently from Debian to Debian: -dev says which it is.
    const depends = run("dpkg-deb", ["-f", join(debs, onlyFile(debs)), "Depends"]);
    const runtime = depends.match(/libglib2\.0-0[a-z0-9]*/)?.[0];
    if (runtime === undefined) throw new Error(`libglib2.0-dev names no runtime library: ${depends}`);
    get(["download", runtime, "libpcre2-8-0"]);
  } catch (error) {
    const why = error instanceof Error ? error.message.trim().split("\n").slice(0, 4).join("; ") : String(error);
    throw new Error(`Debian's GLib packages can't be had (${why}); install libglib2.0-dev and run this again`);
  }
  const half = `${root}.part`;
  for (const deb of readdirSync(debs)) run("dpkg-deb", ["-x", join(debs, deb), half]);
  renameSync(half, root);
  for (const spent of [debs, join(folder, "apt")]) rmSync(spent, { recursive: true, force: true });
}

/** apt with lists, cache and sources of its own: nothing of the system's is written. */
function aptOptions(state) {
  const set = {
    "Dir::State": state,
    "Dir::State::lists": join(state, "lists"),
    "Dir::Cache": join(state, "cache"),
    "APT::Sandbox::User": "", // the folder belongs to whoever runs this, not to _apt
  };
  const release = existsSync("/etc/os-release") ? readFileSync("/etc/os-release", "utf8") : "";
  const codename = release.match(/^VERSION_CODENAME=(\w+)$/m)?.[1];
  if (/^ID=debian$/m.test(release) && codename !== undefined) {
    const list = join(state, "sources.list");
    writeFileSync(list, `deb ${debianMirror()} ${codename} main\n`);
    set["Dir::Etc::sourcelist"] = list;
    set["Dir::Etc::sourceparts"] = "-";
  }
  return Object.entries(set).flatMap(([key, value]) => ["-o", `${key}=${value}`]);
}

function onlyFile(folder) {
  const [file, ...more] = readdirSync(folder);
  if (file === undefined || more.length > 0) throw new Error(`expected one package in ${folder}, found ${more.length}`);
  return file;
}

function canRun(program, args) {
  try {
    execFileSync(program, args, { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

function run(program, args) {
  return runIn(project, program, args);
}

function runIn(cwd, program, args) {
  return execFileSync(program, args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}
