// Debian packages without touching the system: apt-get with every folder, list
// and status file of its own, so neither root nor an installed package is needed.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";

/** A reason why the packages can't be had; its message is all that a person needs to see. */
export class FetchError extends Error {}

/**
 * @typedef {object} Package
 * @property {string} name
 * @property {string} version with its epoch, as dpkg writes it
 * @property {string} file name of the .deb in the download folder
 * @property {number} size bytes
 * @property {string} sha256 of the file, as the signed lists of the archive have it
 */

/**
 * Prepares a private apt under `dir` that knows only the given suites, and reads their package lists.
 *
 * @param {string} dir
 * @param {readonly string[]} suites
 * @returns {Promise<string>} path of the apt configuration, for {@link resolvePackages} and {@link downloadPackages}
 */
export async function preparePrivateApt(dir, suites) {
  for (const tool of ["apt-get", "apt-config", "dpkg-deb"]) {
    if (spawnSync(tool, ["--version"], { stdio: "ignore" }).error) {
      throw new FetchError(`${tool} is not on this machine: the packages can only be fetched on Debian or a relative`);
    }
  }
  if (!existsSync(KEYRING)) {
    throw new FetchError(`${KEYRING} is missing: install the package debian-archive-keyring`);
  }
  for (const sub of ["state/lists/partial", "cache/archives/partial", "parts"]) {
    mkdirSync(join(dir, sub), { recursive: true });
  }
  const mirror = debianMirror();
  writeFileSync(join(dir, "status"), "");
  writeFileSync(
    join(dir, "sources.list"),
    suites.map((suite) => `deb [arch=amd64 signed-by=${KEYRING}] ${mirror} ${suite} main\n`).join(""),
  );
  const config = join(dir, "apt.conf");
  writeFileSync(
    config,
    [
      ...machineTransportSettings(),
      `Dir::State "${dir}/state";`,
      `Dir::State::status "${dir}/status";`,
      `Dir::Cache "${dir}/cache";`,
      `Dir::Etc::sourcelist "${dir}/sources.list";`,
      'Dir::Etc::sourceparts "/dev/null";',
      'Dir::Etc::main "/dev/null";',
      // The machine's own snippets may hold hooks that write outside our folder.
      `Dir::Etc::parts "${dir}/parts";`,
      'Dir::Etc::preferences "/dev/null";',
      'Dir::Etc::preferencesparts "/dev/null";',
      'APT::Architecture "amd64";',
      'APT::Architectures { "amd64"; };',
      'APT::Sandbox::User "root";',
      'APT::Install-Recommends "false";',
      'APT::Update::Error-Mode "any";',
      'Acquire::Languages "none";',
      'Acquire::Retries "3";',
      'Acquire::http::Timeout "30";',
      // An older day of the archive is named on purpose. Its lists are signed all the same.
      ...(process.env.CPRKIT_DEBIAN_MIRROR ? ['Acquire::Check-Valid-Until "false";'] : []),
      "",
    ].join("\n"),
  );
  await apt(config, ["update"], dir, `cannot read the package lists of ${suites.join(", ")} from ${mirror}`);
  return config;
}

/**
 * The named packages with all that they depend on, as if nothing were installed.
 *
 * @param {string} config
 * @param {string} dir
 * @param {readonly string[]} names
 * @param {string} suite where a package comes from when several suites have it
 * @returns {Promise<Package[]>}
 */
export async function resolvePackages(config, dir, names, suite) {
  const out = await apt(
    config,
    ["-t", suite, "-o", "Acquire::ForceHash=SHA256", "--print-uris", "install", ...names],
    dir,
    `cannot resolve ${names.join(", ")} in ${suite}`,
  );
  const packages = [];
  for (const line of out.split("\n")) {
    const match = /^'[^']+' (\S+) (\d+) SHA256:([0-9a-f]{64})$/.exec(line);
    if (!match) continue;
    const [, file = "", size = "0", sha256 = ""] = match;
    const [name = "", version = ""] = file.split("_");
    packages.push({ name, version: version.replaceAll("%3a", ":"), file, size: Number(size), sha256 });
  }
  if (packages.length === 0) throw new FetchError(`apt-get named no package for ${names.join(", ")} in ${suite}`);
  return packages;
}

/**
 * Downloads packages into `into`; what is there already and whole is not read again. Each is compared with its hash: apt
 * takes a file that is there and has the right size for the right one.
 *
 * @param {string} config
 * @param {string} into
 * @param {readonly Package[]} packages
 * @param {(done: number, total: number) => void} progress bytes, about once a second
 */
export async function downloadPackages(config, into, packages, progress) {
  mkdirSync(into, { recursive: true });
  for (const each of packages) {
    if (existsSync(join(into, each.file)) && !isWhole(into, each)) rmSync(join(into, each.file));
  }
  const total = packages.reduce((sum, { size }) => sum + size, 0);
  const wanted = new Set(packages.map(({ file }) => file));
  const measure = () => {
    let done = 0;
    for (const file of readdirSync(into)) if (wanted.has(file)) done += statSync(join(into, file)).size;
    return done;
  };
  const timer = setInterval(() => progress(measure(), total), 1000);
  try {
    await apt(
      config,
      ["download", ...packages.map(({ name, version }) => `${name}=${version}`)],
      into,
      "the download failed (packages that have come are kept: run this again to go on)",
    );
  } finally {
    clearInterval(timer);
  }
  for (const each of packages) {
    if (!existsSync(join(into, each.file))) throw new FetchError(`apt-get did not leave ${each.file} in ${into}`);
    if (isWhole(into, each)) continue;
    rmSync(join(into, each.file));
    throw new FetchError(`${each.file} came damaged, and was thrown away: run this again to go on`);
  }
}

/** @param {string} folder @param {Package} of */
function isWhole(folder, { file, sha256 }) {
  return (
    createHash("sha256")
      .update(readFileSync(join(folder, file)))
      .digest("hex") === sha256
  );
}

/**
 * Unpacks .deb files into `root`, where /lib and its like are links into /usr as on today's Debian.
 *
 * @param {string} from
 * @param {readonly Package[]} packages
 * @param {string} root
 */
export async function unpackPackages(from, packages, root) {
  // dpkg-deb -x would put folders in the place of the links.
  const script =
    'dpkg-deb --fsys-tarfile "$1" >"$1.tar" && tar -xf "$1.tar" -C "$2" --keep-directory-symlink --no-same-owner';
  for (const { file } of packages) {
    const deb = join(from, file);
    await run("sh", ["-c", `${script} && rm "$1.tar"`, "sh", deb, root], from, undefined, `cannot unpack ${file}`);
  }
}

/**
 * Runs a program to its end; the error names what was being done and the program's last lines.
 *
 * @param {string} program
 * @param {readonly string[]} args
 * @param {string} cwd
 * @param {Record<string, string> | undefined} env
 * @param {string} doing
 * @returns {Promise<string>} standard output
 */
export function run(program, args, cwd, env, doing) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd,
      env: { ...process.env, LC_ALL: "C", ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let out = "";
    let err = "";
    child.stdout.setEncoding("utf8").on("data", (text) => {
      out += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text) => {
      err += text;
    });
    child.on("error", (error) => reject(new FetchError(`${doing}: ${error.message}`)));
    child.on("close", (code, signal) => {
      if (code === 0) resolve(out);
      else reject(new FetchError(`${doing}: ${program} ${signal ?? `exit ${code}`}: ${lastLines(err || out)}`));
    });
  });
}

/** What a program said last; of apt-get its errors, behind which details may come. @param {string} text */
function lastLines(text) {
  const lines = text.trim().split("\n");
  const errors = lines.filter((line) => /^E: /.test(line));
  return (errors.length > 0 ? errors : lines).slice(-3).join(" | ").slice(0, 600);
}

/**
 * @param {string} config
 * @param {readonly string[]} args
 * @param {string} cwd
 * @param {string} doing
 */
function apt(config, args, cwd, doing) {
  return run("apt-get", ["-q", ...args], cwd, { APT_CONFIG: config, DEBIAN_FRONTEND: "noninteractive" }, doing);
}

/** Where this machine gets Debian itself from: the first source whose address ends in /debian. */
export function debianMirror() {
  const fromEnv = process.env.CPRKIT_DEBIAN_MIRROR;
  if (fromEnv) return fromEnv;
  const folder = "/etc/apt/sources.list.d";
  const files = ["/etc/apt/sources.list"];
  if (existsSync(folder)) files.push(...readdirSync(folder).map((name) => join(folder, name)));
  for (const file of files.filter((name) => existsSync(name))) {
    for (const line of readFileSync(file, "utf8").split("\n")) {
      if (!/^(deb\s|URIs:)/.test(line)) continue;
      const uri = /\S+:\/\/\S+\/debian(?=\/?(\s|$))/.exec(line);
      if (uri) return uri[0];
    }
  }
  throw new FetchError("this machine's apt names no mirror of Debian: name one in CPRKIT_DEBIAN_MIRROR");
}

/** Proxies and clock checks that the machine's own apt needs to reach its mirror. */
function machineTransportSettings() {
  const dump = spawnSync("apt-config", ["dump", "Acquire"], { encoding: "utf8" }).stdout ?? "";
  return dump.split("\n").filter((line) => /^Acquire::(https?::(Proxy|Verify|CAInfo)|Check-)\S* /.test(line));
}
