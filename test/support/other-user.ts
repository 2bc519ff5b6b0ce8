// Tests that run as another user need a place which that user can read: a clone in /root, or in a folder of mode 0700,
// is none. What runs there is copied, always, so that a machine whose clone is readable proves the same.

import { execFileSync } from "node:child_process";
import { chmodSync, cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
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
  const { packages } = JSON.parse(readFileSync(join(repoRoot, "package-lock.json"), "utf8")) as {
    readonly packages: Readonly<Record<string, { readonly dev?: boolean }>>;
  };
  const installed = Object.entries(packages).flatMap(([path, { dev }]) => (path === "" || dev === true ? [] : [path]));
  const children = ["test/linux/children", "test/channel/children"];
  for (const path of ["package.json", "bin", "dist", ...children, ...installed]) {
    // Optional packages of other platforms are in the lock file, not in node_modules.
    if (existsSync(join(repoRoot, path))) cpSync(join(repoRoot, path), join(copied, path), { recursive: true });
  }
  return copied;
}

/** A copy of a QEMU of the cache, readable for all; of hard links where that can be. */
export function readableQemu(program: string): string {
  const folder = readableFolder();
  const from = dirname(program);
  try {
    execFileSync("cp", ["-al", from, join(folder, "qemu")], { stdio: "ignore" });
  } catch {
    // Another file system, or one without hard links.
    rmSync(join(folder, "qemu"), { recursive: true, force: true });
    execFileSync("cp", ["-a", from, join(folder, "qemu")]);
  }
  return join(folder, "qemu", program.slice(from.length + 1));
}

/** A new empty folder with mode 0755, removed when this process ends. */
function readableFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "cprkit-readable-"));
  chmodSync(folder, 0o755);
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
