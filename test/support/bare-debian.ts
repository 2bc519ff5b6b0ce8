// A bare Debian 12 in a folder, made by debootstrap from Debian's packages: nothing of this machine is in it. What runs in
// there has the folder as its root, and a mount and a pid namespace of its own, whose processes end with the first one.

import { execFileSync, spawn, spawnSync } from "node:child_process";
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import {
  debianMirror,
  downloadPackages,
  preparePrivateApt,
  resolvePackages,
  unpackPackages,
} from "../../scripts/qemu/debian.mjs";
import { cacheDir } from "./cache-dir.ts";

/** How a script is run in there. */
export interface BareOptions {
  /** Folders of this machine that are seen in there, at the same paths. */
  readonly mount?: readonly string[];
  /** With this machine's network; else there is none. */
  readonly network?: boolean;
  readonly env?: Readonly<Record<string, string>>;
}

/** A root folder. */
export interface BareDebian {
  readonly root: string;
  /** Runs a script of sh(1) in there, for five minutes at most. */
  run(
    script: string,
    options?: BareOptions,
  ): { readonly status: number | null; readonly stdout: string; readonly stderr: string };
  /** The same for one that takes longer: tells each line of both outputs. @returns its exit status */
  follow(script: string, onLine: (line: string) => void, options?: BareOptions): Promise<number | null>;
  /** Puts this Node in there and, if asked, its npm. */
  addNode(options?: { readonly npm?: boolean }): void;
  remove(): void;
}

/** Why there can be none here; undefined if there can. */
export function noBareDebian(): string | undefined {
  if (process.geteuid?.() !== 0) return "only root can make one";
  const tools = ["apt-get", "dpkg-deb", "wget", "unshare", "pivot_root", "chroot", "tar"];
  const missing = tools.filter((tool) => spawnSync("sh", ["-c", `command -v ${tool}`]).status !== 0);
  if (missing.length > 0) return `there is no ${missing.join(", ")}`;
  // Root of a container may not.
  const may = spawnSync("unshare", ["--mount", "--pid", "--fork", "true"]).status === 0;
  return may ? undefined : "no mount namespace can be made here";
}

/** What is in there besides Debian's smallest set (debootstrap's minbase); the folder of the cache for each. */
const sets = {
  nothing: { folder: "debian-12-minbase", packages: [] },
  /** The shells and man(1), to see completion and the pages; nothing that cprkit needs. */
  shells: { folder: "debian-12", packages: ["bash-completion", "fish", "man-db", "zsh"] },
} as const;

/** A new one. The first is made from the network, which takes a minute or two; it is kept in the cache, and copied. */
export async function bareDebian(set: keyof typeof sets = "shells"): Promise<BareDebian> {
  const { folder, packages } = sets[set];
  const kept = join(cacheDir(), folder);
  if (!existsSync(join(kept, "etc/debian_version"))) await make(kept, packages);
  const root = mkdtempSync(join(process.env["CPRKIT_TEST_FOLDER"] ?? tmpdir(), "debian-"));
  execFileSync("cp", ["-a", `${kept}/.`, root]);
  // Debian's installer writes it, and whoever starts a container.
  writeFileSync(join(root, "etc/hosts"), "127.0.0.1 localhost\n::1 localhost\n");
  const follow: BareDebian["follow"] = async (script, onLine, options) => {
    const [program = "", ...args] = command(root, script, options);
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    for (const input of [child.stdout, child.stderr]) createInterface({ input }).on("line", onLine);
    return new Promise((resolve, reject) => child.on("error", reject).on("close", resolve));
  };
  return {
    root,
    run(script, options) {
      const [program = "", ...args] = command(root, script, options);
      const { status, stdout, stderr } = spawnSync(program, args, {
        ...{ encoding: "utf8", timeout: 300_000, input: "", maxBuffer: 2 ** 28 },
      });
      return { status, stdout, stderr };
    },
    follow,
    addNode: ({ npm = false } = {}) => addNode(root, npm),
    remove: () => rmSync(root, { recursive: true, force: true }),
  };
}

/**
 * Words that run a script with the folder as the root of a mount namespace, as a container has it: in a mere chroot no user
 * namespace can be made.
 */
function command(root: string, script: string, { mount = [], network, env = {} }: BareOptions = {}): string[] {
  const mounts = [
    'mount --bind "$root" "$root"',
    'mount -t proc proc "$root/proc"',
    'mount --rbind /sys "$root/sys"',
    // For pseudo-terminals.
    'mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"',
    'mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"',
    ...mount.map((path) => `mkdir -p "$root${path}" && mount --bind '${path}' "$root${path}"`),
    'cd "$root"',
    // The old root lies over the new one until it is taken away (pivot_root(2)).
    "pivot_root . .",
    "umount -l .",
  ];
  const all = {
    PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    HOME: "/root",
    LC_ALL: "C.UTF-8",
    ...env,
  };
  const setUp = `root=$1; shift; ${mounts.join(" && ")} && exec chroot . /usr/bin/env -i "$@"`;
  return [
    ...["unshare", "--mount", "--pid", "--fork", "--kill-child", ...(network === true ? [] : ["--net"])],
    ...["sh", "-c", setUp, "sh", root],
    ...Object.entries(all).map(([name, value]) => `${name}=${value}`),
    ...["/bin/sh", "-c", script],
  ];
}

function addNode(root: string, npm: boolean): void {
  copyFileSync(process.execPath, join(root, "usr/local/bin/node"));
  if (!npm) return;
  const cli = realpathSync(execFileSync("sh", ["-c", "command -v npm"], { encoding: "utf8" }).trim());
  const to = join(root, "usr/local/lib/node_modules/npm");
  mkdirSync(dirname(to), { recursive: true });
  cpSync(join(dirname(cli), ".."), to, { recursive: true });
  symlinkSync("../lib/node_modules/npm/bin/npm-cli.js", join(root, "usr/local/bin/npm"));
}

/** How this machine gets to the registry: what npm in there needs to know, besides a network. Lays the certificates of this machine in there. */
export function registryOf({ root }: BareDebian): Record<string, string> {
  const registry = execFileSync("npm", ["config", "get", "registry"], { encoding: "utf8" }).trim();
  copyFileSync("/etc/resolv.conf", join(root, "etc/resolv.conf"));
  const certificates = process.env["NODE_EXTRA_CA_CERTS"];
  if (certificates !== undefined) copyFileSync(certificates, join(root, "etc/extra-ca.pem"));
  const proxies = Object.entries(process.env).filter(([name]) => /^(https?|no)_proxy$/i.test(name));
  return {
    ...(Object.fromEntries(proxies) as Record<string, string>),
    npm_config_registry: registry,
    ...(certificates === undefined ? {} : { NODE_EXTRA_CA_CERTS: "/etc/extra-ca.pem" }),
  };
}

async function make(kept: string, extra: readonly string[]): Promise<void> {
  mkdirSync(cacheDir(), { recursive: true });
  const work = mkdtempSync(`${kept}.`);
  try {
    const [apt, tool, root] = [join(work, "apt"), join(work, "tool"), join(work, "root")];
    for (const each of [apt, tool]) mkdirSync(each);
    const config = await preparePrivateApt(apt, ["bookworm"]);
    const all = await resolvePackages(config, apt, ["debootstrap"], "bookworm");
    const own = all.filter(({ name }) => name === "debootstrap");
    await downloadPackages(config, work, own, () => {});
    await unpackPackages(work, own, tool);
    const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
    const { status, stderr } = spawnSync(
      "sh",
      [join(tool, "usr/sbin/debootstrap"), "--variant=minbase", `--keyring=${keyring}`].concat(
        extra.length === 0 ? [] : [`--include=${extra.join(",")}`],
        ["bookworm", root, debianMirror()],
      ),
      {
        encoding: "utf8",
        stdio: ["ignore", "ignore", "pipe"],
        env: { ...process.env, DEBOOTSTRAP_DIR: join(tool, "usr/share/debootstrap") },
        timeout: 900_000,
      },
    );
    if (status !== 0) throw new Error(`debootstrap failed: ${stderr.slice(-1000)}`);
    // Not needed any more, and most of its size.
    for (const folder of ["var/cache/apt/archives", "var/lib/apt/lists"]) {
      for (const name of readdirSync(join(root, folder))) rmSync(join(root, folder, name), { recursive: true });
    }
    writeFileSync(join(root, "etc/hostname"), "bare\n");
    renameSync(root, kept);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
