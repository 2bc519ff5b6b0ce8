// A bare Debian 12 in a folder, made by debootstrap from Debian's packages: nothing of this machine is in it. What runs in
// there has the folder as its root, and a pid namespace of its own, whose processes end with the first one.

import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  debianMirror,
  downloadPackages,
  preparePrivateApt,
  resolvePackages,
  unpackPackages,
} from "../../scripts/qemu/debian.mjs";
import { cacheDir } from "./cache-dir.ts";

/** A root folder. */
export interface BareDebian {
  readonly root: string;
  /** Runs a script of sh(1) in there. `mount`: folders of this machine that are seen in there, at the same paths. */
  run(
    script: string,
    options?: { readonly mount?: readonly string[]; readonly env?: Readonly<Record<string, string>> },
  ): { readonly status: number | null; readonly stdout: string; readonly stderr: string };
  remove(): void;
}

/** Why there can be none here; undefined if there can. */
export function noBareDebian(): string | undefined {
  if (process.geteuid?.() !== 0) return "only root can make one";
  const tools = ["apt-get", "dpkg-deb", "wget", "unshare", "chroot", "tar"];
  const missing = tools.filter((tool) => spawnSync("sh", ["-c", `command -v ${tool}`]).status !== 0);
  return missing.length === 0 ? undefined : `there is no ${missing.join(", ")}`;
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
  return {
    root,
    run(script, { mount = [], env = {} } = {}) {
      const binds = mount.map((path) => `mkdir -p '${root}${path}' && mount --bind '${path}' '${root}${path}'`);
      const words = [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME=/root",
        "LC_ALL=C.UTF-8",
      ];
      const all = [...words, ...Object.entries(env).map(([name, value]) => `${name}=${value}`)];
      // For zsh's pseudo-terminals.
      const terminals = `mount -t devpts -o newinstance,ptmxmode=0666 devpts '${root}/dev/pts'`;
      const program = [terminals, ...binds, `exec chroot '${root}' /usr/bin/env -i "$@"`].join(" && ");
      const { status, stdout, stderr } = spawnSync(
        "unshare",
        ["--mount", "--pid", "--fork", "--kill-child", `--mount-proc=${root}/proc`].concat([
          "sh",
          "-c",
          program,
          "sh",
          ...all,
          "/bin/sh",
          "-c",
          script,
        ]),
        { encoding: "utf8", timeout: 300_000, input: "", maxBuffer: 2 ** 28 },
      );
      return { status, stdout, stderr };
    },
    remove: () => rmSync(root, { recursive: true, force: true }),
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
