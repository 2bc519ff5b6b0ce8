// Tests that run as another user need a place which that user can read: a clone in /root, or in a folder of mode 0700,
// is none. What runs there is copied, always, so that a machine whose clone is readable proves the same.

import { execFileSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { installedWith } from "../../scripts/installed.mjs";
import { repoRoot } from "./cli.ts";

/** A user without rights: uid and gid of "nobody". */
export const nobody = { uid: 65534, gid: 65534 };

/** Whether this process may start processes of other users; only root may. */
export const isRoot = process.geteuid?.() === 0;

let copied: string | undefined;

/** A copy of this package as it runs (bin, dist, the packages it needs) with the tests' children, readable for all. */
export function readableRepo(): string {
  if (copied !== undefined) return copied;
  copied = readableFolder();
  const installed = installedWith(JSON.parse(readFileSync(join(repoRoot, "package-lock.json"), "utf8")));
  const children = ["test/linux/children", "test/channel/children"];
  for (const path of ["package.json", "bin", "dist", ...children, ...installed]) {
    // Optional packages of other platforms are in the lock file, not in node_modules.
    if (existsSync(join(repoRoot, path))) cpSync(join(repoRoot, path), join(copied, path), { recursive: true });
  }
  return copied;
}

/**
 * A copy of a QEMU of the cache, readable for all; of hard links where that can be. The program itself names the folder
 * of its loader and libraries: in the copy it names those of the copy.
 */
export function readableQemu(program: string): string {
  const from = dirname(program);
  const to = join(readableFolder(), "qemu");
  try {
    execFileSync("cp", ["-al", from, to], { stdio: "ignore" });
  } catch {
    // Another file system, or one without hard links.
    rmSync(to, { recursive: true, force: true });
    execFileSync("cp", ["-a", from, to]);
  }
  const real = join(to, "root/usr/bin", basename(program));
  const libraries = dirname(findLoader(join(to, "root")));
  const patchelf = (...args: string[]) =>
    execFileSync(findLoader(join(to, "root")), [
      "--library-path",
      libraries,
      join(to, "root/usr/bin/patchelf"),
      ...args,
    ]);
  // Not through the hard link.
  copyFileSync(real, `${real}.own`);
  patchelf("--set-interpreter", findLoader(join(to, "root")), "--force-rpath", "--set-rpath", libraries, `${real}.own`);
  chmodSync(`${real}.own`, 0o755);
  renameSync(`${real}.own`, real);
  return join(to, basename(program));
}

function findLoader(root: string): string {
  const folders = readdirSync(join(root, "usr/lib")).map((name) => join(root, "usr/lib", name));
  for (const folder of folders) {
    const name = /-linux-gnu$/.test(folder)
      ? readdirSync(folder).find((each) => /^ld-linux-.*\.so\.\d$/.test(each))
      : undefined;
    if (name !== undefined) return join(folder, name);
  }
  throw new Error(`no loader in ${root}`);
}

/** A new empty folder with mode 0755 that is removed after the run (support/build.ts). */
function readableFolder(): string {
  const folder = mkdtempSync(join(process.env["CPRKIT_TEST_FOLDER"] ?? tmpdir(), "readable-"));
  chmodSync(folder, 0o755);
  return folder;
}
