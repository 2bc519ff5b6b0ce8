// Where updates keep their journals, locks, logs and sockets: one folder per VM, named after its QMP socket.

import { createHash } from "node:crypto";
import { statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { publicName } from "../command-line/derive.ts";
import { realPath } from "../namespaces/paths.ts";

/**
 * The folder of all VMs: the one that was asked for, else `$XDG_RUNTIME_DIR/cprkit` where that is this user's own, for
 * root `/run/cprkit`, else `.cprkit` beside the QMP socket, or `.cprkit-UID` where others may write, too (undefined when
 * the socket is not known).
 */
export function stateBase(asked: string | undefined, qmp: string | undefined): string | undefined {
  if (asked !== undefined) return resolve(asked);
  const user = process.geteuid?.();
  const runtime = process.env["XDG_RUNTIME_DIR"];
  // Of root after sudo or su it may be another user's.
  if (runtime !== undefined && runtime !== "" && statOf(runtime)?.uid === user) return join(runtime, "cprkit");
  if (user === 0) return "/run/cprkit";
  if (qmp === undefined) return undefined;
  const beside = dirname(publicName(realPath(qmp)));
  const isShared = ((statOf(beside)?.mode ?? 0) & 0o022) !== 0;
  return join(beside, isShared ? `.cprkit-${user}` : ".cprkit");
}

function statOf(path: string) {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}

/** The folder of one VM: the same for every generation of its QEMU. */
export function vmFolder(base: string, publicQmp: string): string {
  const name = basename(publicQmp)
    .replace(/[^\w.-]/g, "_")
    .slice(0, 16);
  return join(base, `${name}-${createHash("sha256").update(publicQmp).digest("hex").slice(0, 8)}`);
}
