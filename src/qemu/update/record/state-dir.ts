// Where updates keep their journals, locks, logs and sockets: a folder a VM, named after its QMP socket.

import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { publicName } from "../../command-line/derive.ts";
import { realPath, type VmTarget } from "../../vm/process.ts";
import { type Journal, listJournals } from "./journal.ts";

/**
 * The folder of all VMs: the one that was asked for, else `$XDG_RUNTIME_DIR/cprkit`, for root `/run/cprkit`, else
 * `.cprkit` beside the QMP socket (undefined when that is not known).
 */
export function stateBase(asked: string | undefined, qmp: string | undefined): string | undefined {
  if (asked !== undefined) return resolve(asked);
  const runtime = process.env["XDG_RUNTIME_DIR"];
  if (runtime !== undefined && runtime !== "" && existsSync(runtime)) return join(runtime, "cprkit");
  if (process.geteuid?.() === 0) return "/run/cprkit";
  return qmp === undefined ? undefined : join(dirname(publicName(realPath(qmp))), ".cprkit");
}

/** The folder of one VM: the same for every generation of its QEMU. */
export function vmFolder(base: string, publicQmp: string): string {
  const name = basename(publicQmp)
    .replace(/[^\w.-]/g, "_")
    .slice(0, 16);
  return join(base, `${name}-${createHash("sha256").update(publicQmp).digest("hex").slice(0, 8)}`);
}

/** The update of a VM that was named by a socket of any generation, or by either of its processes. */
export function findJournal(
  base: string,
  target: VmTarget,
): { readonly folder: string; readonly journal: Journal } | undefined {
  const { qmp, pid } = target;
  const names = qmp === undefined ? [] : [publicName(resolve(qmp)), publicName(realPath(qmp))];
  return listJournals(base).find(({ journal }) => {
    const { source, destination, publicQmp, moved } = journal;
    const paths = [publicQmp, publicName(source.qmp), ...moved.map((name) => name.public)];
    return (
      names.some((name) => paths.includes(name)) ||
      (pid !== undefined && (source.pid === pid || destination?.pid === pid))
    );
  });
}
