#!/usr/bin/env node
// Gets what the QEMU tests need from Debian's packages, without root and without installing anything:
// QEMU 10.0 and 11.1, each with its own C library, a Linux kernel with busybox for the guest, a headless Chromium for
// the browser tests, PostgreSQL for those of a fleet, and Ansible for its playbook.
import {
  accessSync,
  chmodSync,
  constants,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { downloadPackages, FetchError, preparePrivateApt, resolvePackages, run, unpackPackages } from "./debian.mjs";
import { rerunUnderLock } from "./lock.mjs";

/** Raised when the folder's content changes, so that an older one is made anew. */
const LAYOUT = 1;
/** A day on which Debian's suites had all versions that are wanted. */
const ARCHIVE_WITH_ALL = "http://snapshot.debian.org/archive/debian/20261129T000000Z";
const LIBRARIES = "usr/lib/x86_64-linux-gnu";
const LOADER = "ld-linux-x86-64.so.2";

/** The guest's drivers that are modules: for a network card and for disks. What they need comes with them. */
const GUEST_MODULES = ["virtio_pci", "virtio_net", "virtio_blk", "virtio_scsi", "sd_mod"].map(
  (name) => `modules/${name}.ko`,
);

/** The database of a fleet: for its tests and its demonstration. */
const POSTGRES_PROGRAMS = ["initdb", "postgres"];

/**
 * @typedef {object} Set
 * @property {string} name
 * @property {string} folder below the cache
 * @property {string[]} suites the last one is preferred
 * @property {string[]} packages
 * @property {RegExp} keep packages that are downloaded, of all those that the named ones depend on
 * @property {{ name: RegExp, version: RegExp }} expect package whose version must be right
 * @property {(root: string, home: string, finalHome: string) => Promise<void>} finish
 * @property {string[]} leaves files that must be there when done, below the folder
 */

/** @type {Set[]} */
const SETS = [
  qemuSet("7.2", ["bookworm"]),
  qemuSet("10.0", ["bookworm", "bookworm-backports"]),
  qemuSet("11.1", ["trixie", "trixie-backports"]),
  {
    name: "guest",
    folder: "guest",
    suites: ["bookworm"],
    // The cloud kernel has the 8250 serial driver and NVMe built in, and is a third of the plain one's size.
    packages: ["linux-image-cloud-amd64", "busybox-static"],
    keep: /^(linux-image-\d.*|busybox-static)$/,
    expect: { name: /^linux-image-\d/, version: /./ },
    finish: finishGuest,
    leaves: ["vmlinuz", "busybox", ...GUEST_MODULES],
  },
  {
    name: "qemu-img",
    folder: "qemu-img",
    suites: ["trixie", "trixie-backports"],
    packages: ["qemu-utils", "patchelf"],
    keep: /./,
    expect: { name: /^qemu-utils$/, version: /^1:11\.1\./ },
    finish: finishQemuImg,
    leaves: ["qemu-img"],
  },
  {
    name: "chromium",
    folder: "chromium",
    suites: ["bookworm"],
    packages: ["chromium-headless-shell", "patchelf"],
    keep: /./,
    expect: { name: /^chromium-headless-shell$/, version: /./ },
    finish: finishChromium,
    leaves: ["chromium-headless-shell"],
  },
  {
    name: "postgres",
    folder: "postgres",
    suites: ["bookworm"],
    packages: ["postgresql-15", "patchelf"],
    // Its just-in-time compiler is 100 MB of LLVM, and is loaded only when it is switched on.
    keep: /^(postgresql-15|patchelf|zlib1g|gcc-12-base|lib(?!llvm|z3|perl|c-bin|c-l10n|pam-modules|sasl2-modules$)(?!.*-(perl|common)$).*)$/,
    expect: { name: /^postgresql-15$/, version: /^15\./ },
    finish: finishPostgres,
    leaves: POSTGRES_PROGRAMS.map((name) => join("bin", name)),
  },
  {
    name: "ansible",
    folder: "ansible",
    suites: ["bookworm"],
    packages: ["ansible-core", "patchelf"],
    // With a Python of its own; what it needs for other hosts, for vaults and for downloads is left out.
    keep: /^(ansible-core|patchelf|python3\.11.*|python3-(minimal|jinja2|markupsafe|yaml|packaging|resolvelib|distutils|lib2to3|cryptography|cffi-backend)|libpython3.*|libc6|libgcc-s1|libstdc\+\+6|lib(expat1|ffi8|ssl3|yaml-0-2|bz2-1\.0|lzma5|crypt1|uuid1)|zlib1g|media-types)$/,
    expect: { name: /^ansible-core$/, version: /^2\.14\./ },
    finish: finishAnsible,
    leaves: ["ansible-playbook", "python3"],
  },
];

const HELP = `Usage: node scripts/qemu/fetch.mjs [${SETS.map(({ name }) => name).join("] [")}] [options]

Fetches QEMU 10.0, QEMU 11.1, a guest kernel, a headless Chromium, PostgreSQL and
Ansible from Debian's packages into .cache (CPRKIT_CACHE names another folder). Without a name: all of them. What is
there already is left alone.

  --check   only say what is there; exit 1 when something is missing
  --force   fetch again
  --json    print the result as JSON on standard output
  --help    this text

CPRKIT_DEBIAN_MIRROR names another mirror than the machine's own, for example
one of an older day when the suites have moved on:
${ARCHIVE_WITH_ALL}

Example: node scripts/qemu/fetch.mjs 11.1
`;

process.exitCode = await main();

async function main() {
  /** @type {{ values: { check?: boolean, force?: boolean, json?: boolean, help?: boolean }, positionals: string[] }} */
  let args;
  try {
    args = parseArgs({
      allowPositionals: true,
      options: Object.fromEntries(["check", "force", "json", "help"].map((name) => [name, { type: "boolean" }])),
    });
  } catch (error) {
    return complain(2, error);
  }
  const { values, positionals } = args;
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const unknown = positionals.find((name) => !SETS.some((set) => set.name === name));
  if (unknown !== undefined) return complain(2, `no such thing to fetch: ${unknown} (see --help)`);
  const wanted = SETS.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
  const cache = cacheFolder();
  if (values.check) return report(cache, wanted, values.json) ? 0 : 1;
  if (!values.force && wanted.every((set) => isReady(cache, set))) {
    report(cache, wanted, values.json);
    return 0;
  }
  if (process.platform !== "linux" || process.arch !== "x64") {
    return complain(4, `Debian's amd64 QEMU runs on Linux x86-64 only, this is ${process.platform} ${process.arch}`);
  }
  try {
    requireWritable(cache);
    const held = rerunUnderLock(join(cache, "qemu", ".lock"), say);
    if (held !== undefined) return held;
    for (const set of wanted) if (values.force || !isReady(cache, set)) await fetchSet(cache, set);
    report(cache, wanted, values.json);
    return 0;
  } catch (error) {
    if (error instanceof FetchError || /** @type {NodeJS.ErrnoException} */ (error).code) return complain(4, error);
    throw error;
  }
}

/**
 * @param {string} cache
 * @param {Set} set
 */
async function fetchSet(cache, set) {
  const home = join(cache, set.folder);
  const work = `${home}.work`;
  const debs = join(work, "debs");
  mkdirSync(work, { recursive: true });
  say(`${set.name}: reading package lists (${set.suites.join(", ")})`);
  const suite = set.suites.at(-1) ?? "";
  const config = await preparePrivateApt(join(work, "apt"), set.suites);
  const packages = (await resolvePackages(config, work, set.packages, suite)).filter(({ name }) => set.keep.test(name));
  const main = packages.find(({ name }) => set.expect.name.test(name));
  if (!main || !set.expect.version.test(main.version)) {
    throw new FetchError(
      `${suite} has ${set.packages[0]} ${main?.version ?? "(none)"}, but ${set.name} was wanted: ` +
        `name a mirror that has an older day of the archive in CPRKIT_DEBIAN_MIRROR, such as ${ARCHIVE_WITH_ALL}`,
    );
  }
  const megabytes = (/** @type {number} */ bytes) => (bytes / 1e6).toFixed(0);
  say(`${set.name}: downloading ${packages.length} packages`);
  await downloadPackages(config, debs, packages, (done, total) =>
    say(`${set.name}: ${megabytes(done)} of ${megabytes(total)} MB`),
  );
  say(`${set.name}: unpacking`);
  const fresh = join(work, "home");
  const root = join(fresh, "root");
  rmSync(fresh, { recursive: true, force: true });
  for (const name of ["bin", "lib", "lib64", "sbin"]) {
    mkdirSync(join(root, "usr", name), { recursive: true });
    symlinkSync(`usr/${name}`, join(root, name));
  }
  await unpackPackages(debs, packages, root);
  await set.finish(root, fresh, home);
  const versions = Object.fromEntries(packages.map(({ name, version }) => [name, version]));
  const stamp = { layout: LAYOUT, home, version: main.version, packages: versions };
  writeFileSync(join(fresh, "stamp.json"), `${JSON.stringify(stamp, null, 2)}\n`);
  // A finished folder appears at once or not at all: nobody ever runs half a QEMU.
  const old = join(work, "old");
  rmSync(old, { recursive: true, force: true });
  if (existsSync(home)) renameSync(home, old);
  renameSync(fresh, home);
  rmSync(work, { recursive: true, force: true });
  say(`${set.name}: ready, ${main.name} ${main.version}`);
}

/**
 * @param {string} version
 * @param {string[]} suites
 * @returns {Set}
 */
function qemuSet(version, suites) {
  return {
    name: version,
    folder: `qemu/${version}`,
    suites,
    packages: ["qemu-system-x86", "patchelf"],
    keep: /./,
    expect: { name: /^qemu-system-x86$/, version: new RegExp(`^1:${version.replace(".", "\\.")}[.+]`) },
    finish: finishQemu,
    leaves: ["qemu-system-x86_64"],
  };
}

/**
 * Makes QEMU run with the libraries beside it, and writes the one program by which it is called.
 *
 * @param {string} root
 * @param {string} home
 * @param {string} finalHome
 */
async function finishQemu(root, home, finalHome) {
  await useOwnLibraries(root, finalHome, "usr/bin/qemu-system-x86_64");
  const wrapper = join(home, "qemu-system-x86_64");
  writeFileSync(
    wrapper,
    [
      "#!/bin/sh",
      "# Made by scripts/qemu/fetch.mjs: QEMU with the libraries, modules and firmware beside it.",
      'root=$(dirname "$(readlink -f "$0")")/root',
      `QEMU_MODULE_DIR=$root/${LIBRARIES}/qemu`,
      "export QEMU_MODULE_DIR",
      'exec "$root/usr/bin/qemu-system-x86_64" -L "$root/usr/share/qemu" -L "$root/usr/share/seabios" \\',
      '  -L "$root/usr/lib/ipxe/qemu" "$@"',
      "",
    ].join("\n"),
  );
  chmodSync(wrapper, 0o755);
}

/**
 * The program that checks disk images.
 *
 * @param {string} root
 * @param {string} home
 * @param {string} finalHome
 */
async function finishQemuImg(root, home, finalHome) {
  await useOwnLibraries(root, finalHome, "usr/bin/qemu-img");
  symlinkSync("root/usr/bin/qemu-img", join(home, "qemu-img"));
}

/**
 * @param {string} root
 * @param {string} home
 * @param {string} finalHome
 */
async function finishChromium(root, home, finalHome) {
  const program = "usr/lib/chromium/chromium-headless-shell";
  await useOwnLibraries(root, finalHome, program);
  // It names a folder of the system for a part of its own.
  const folder = `${LIBRARIES}/pulseaudio`;
  await patchelf(root, ["--set-rpath", join(finalHome, "root", folder), join(root, LIBRARIES, "libpulse.so.0")]);
  symlinkSync(join("root", program), join(home, "chromium-headless-shell"));
}

/**
 * PostgreSQL finds its share/ and lib/ from where its program is.
 *
 * @param {string} root
 * @param {string} home
 * @param {string} finalHome
 */
async function finishPostgres(root, home, finalHome) {
  const programs = "usr/lib/postgresql/15/bin";
  for (const name of POSTGRES_PROGRAMS) await useOwnLibraries(root, finalHome, join(programs, name));
  symlinkSync(join("root", programs), join(home, "bin"));
}

/**
 * Python finds its modules from where its program is. What Ansible starts is cprkit: it must not inherit Python's variables.
 *
 * @param {string} root
 * @param {string} home
 * @param {string} finalHome
 */
async function finishAnsible(root, home, finalHome) {
  const python = "usr/bin/python3.11";
  await useOwnLibraries(root, finalHome, python);
  symlinkSync(join("root", python), join(home, "python3"));
  const wrapper = join(home, "ansible-playbook");
  writeFileSync(
    wrapper,
    [
      "#!/bin/sh",
      "# Made by scripts/qemu/fetch.mjs: Ansible with the Python and the libraries beside it.",
      'root=$(dirname "$(readlink -f "$0")")/root',
      "unset PYTHONHOME PYTHONPATH",
      'exec "$root/usr/bin/python3.11" "$root/usr/bin/ansible-playbook" "$@"',
      "",
    ].join("\n"),
  );
  chmodSync(wrapper, 0o755);
}

/**
 * Names the loader and the libraries in the program itself, not in the environment: a process that it starts must not
 * inherit them, and /proc/PID/cmdline and /proc/PID/exe show the program, not a loader.
 *
 * @param {string} root
 * @param {string} finalHome
 * @param {string} program below root
 */
async function useOwnLibraries(root, finalHome, program) {
  const libraries = join(finalHome, "root", LIBRARIES);
  const edits = ["--set-interpreter", join(libraries, LOADER), "--force-rpath", "--set-rpath", libraries];
  await patchelf(root, [...edits, join(root, program)]);
}

/**
 * Runs the patchelf that was unpacked, with the loader and libraries beside it.
 *
 * @param {string} root
 * @param {string[]} args
 */
async function patchelf(root, args) {
  const libraries = join(root, LIBRARIES);
  const command = ["--library-path", libraries, join(root, "usr/bin/patchelf"), ...args];
  await run(join(libraries, LOADER), command, root, undefined, `patchelf ${args.at(-1)} failed`);
}

/**
 * Keeps the kernel, the modules of virtio network cards and disks, and busybox, and drops the rest.
 *
 * @param {string} root
 * @param {string} home
 */
async function finishGuest(root, home) {
  const kernel = readdirSync(join(root, "boot")).find((name) => name.startsWith("vmlinuz-"));
  if (!kernel) throw new FetchError("the kernel package holds no /boot/vmlinuz-*");
  copyFileSync(join(root, "boot", kernel), join(home, "vmlinuz"));
  copyFileSync(join(root, "bin/busybox"), join(home, "busybox"));
  chmodSync(join(home, "busybox"), 0o755);
  const modules = join(root, "lib/modules");
  const files = readdirSync(modules, { recursive: true, encoding: "utf8" });
  mkdirSync(join(home, "modules"));
  const wanted = GUEST_MODULES.map((leaf) => basename(leaf));
  for (const name of wanted) {
    // The kernel's own names have "_" where a file may have "-".
    const found = files.find((file) => basename(file).replaceAll("-", "_") === name.replaceAll("-", "_"));
    if (found === undefined) throw new FetchError(`the kernel package holds no ${name}`);
    copyFileSync(join(modules, found), join(home, "modules", name));
    const needs = /\0depends=([^\0]*)\0/.exec(readFileSync(join(modules, found), "latin1"))?.[1] ?? "";
    for (const each of needs.split(",").filter((one) => one !== "")) {
      if (!wanted.includes(`${each}.ko`)) wanted.push(`${each}.ko`);
    }
  }
  rmSync(root, { recursive: true, force: true });
}

/**
 * @param {string} cache
 * @param {Set} set
 */
function isReady(cache, set) {
  const home = join(cache, set.folder);
  const stamp = readStamp(home);
  // QEMU's binary names its loader by an absolute path, so a folder that was moved has to be made anew.
  return stamp?.layout === LAYOUT && stamp.home === home && set.leaves.every((leaf) => existsSync(join(home, leaf)));
}

/** @param {string} home */
function readStamp(home) {
  try {
    return JSON.parse(readFileSync(join(home, "stamp.json"), "utf8"));
  } catch {
    // None, or one that was cut off when the machine stopped: what is beside it may be, too.
    return undefined;
  }
}

/** @param {string} cache */
function requireWritable(cache) {
  try {
    for (const folder of [cache, join(cache, "qemu")]) {
      mkdirSync(folder, { recursive: true });
      accessSync(folder, constants.W_OK);
    }
  } catch (error) {
    const { code } = /** @type {NodeJS.ErrnoException} */ (error);
    throw new FetchError(`nothing can be written to ${cache} (${code}): name another folder in CPRKIT_CACHE`);
  }
}

/**
 * @param {string} cache
 * @param {Set[]} sets
 * @param {boolean | undefined} json
 */
function report(cache, sets, json) {
  const rows = sets.map((set) => {
    const home = join(cache, set.folder);
    const ready = isReady(cache, set);
    const files = set.leaves.map((leaf) => join(home, leaf));
    return { name: set.name, ready, version: ready ? readStamp(home).version : null, files: ready ? files : [] };
  });
  if (json) process.stdout.write(`${JSON.stringify({ cache, sets: rows }, null, 2)}\n`);
  else {
    for (const { name, ready, version, files } of rows) {
      process.stdout.write(`${name.padEnd(8)} ${ready ? `${version}  ${files.join(" ")}` : "missing"}\n`);
    }
  }
  return rows.every(({ ready }) => ready);
}

function cacheFolder() {
  const repository = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
  return resolve(process.env.CPRKIT_CACHE || join(repository, ".cache"));
}

/** @param {string} line */
function say(line) {
  process.stderr.write(`${line}\n`);
}

/**
 * @param {number} code
 * @param {unknown} problem
 */
function complain(code, problem) {
  say(`fetch: ${problem instanceof Error ? problem.message : problem}`);
  return code;
}
