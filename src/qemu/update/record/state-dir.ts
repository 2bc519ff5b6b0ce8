// Where updates keep their journals, locks, logs and sockets: a folder a VM, named after its QMP socket.

import { createHash } from "node:crypto";
import { statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { isRunning } from "../../../linux/index.ts";
import { publicName } from "../../command-line/derive.ts";
import { realPath, type VmTarget } from "../../vm/process.ts";
import { type Journal, type JournalProcess, listJournals } from "./journal.ts";

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

/**
 * The update of a VM that was named by a socket of any generation, or by either of its processes.
 *
 * @throws CprkitError ERR_FILE when the journal of this socket can't be read
 */
export function findJournal(
  base: string,
  target: VmTarget,
): { readonly folder: string; readonly journal: Journal } | undefined {
  const { qmp, pid } = target;
  const names = qmp === undefined ? [] : [publicName(resolve(qmp)), publicName(realPath(qmp))];
  const { journals, problems } = listJournals(base);
  const found = journals.find(({ journal }) => {
    const { source, destination, publicQmp, moved } = journal;
    const paths = [publicQmp, publicName(source.qmp), ...moved.map((name) => name.public)];
    return (
      names.some((name) => paths.includes(name)) ||
      [source, destination].some((entry) => entry !== undefined && entry.pid === pid && isRunning(identityOf(entry)))
    );
  });
  const folders = names.map((name) => basename(vmFolder(base, name)));
  const problem = problems.find(({ folder }) => folders.includes(basename(folder)));
  if (found === undefined && problem !== undefined) throw problem.error;
  return found;
}

function identityOf({ pid, startTime }: JournalProcess) {
  return { pid, startTime: BigInt(startTime) };
}
