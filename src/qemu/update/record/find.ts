// Finds the journal of a VM that was named in one of several ways.

import { basename, resolve } from "node:path";
import { isRunning } from "../../../linux/index.ts";
import { publicName } from "../../command-line/derive.ts";
import { pidOfRoot, realPath } from "../../namespaces/paths.ts";
import type { VmTarget } from "../../vm/open.ts";
import { vmFolder } from "../../vm/state-dir.ts";
import { type Journal, type JournalProcess, listJournals } from "./journal.ts";

/**
 * The update of a VM that was named by a socket of any generation, or by either of its processes.
 *
 * @throws CprkitError ERR_FILE when the journal of this socket can't be read
 */
export function findJournal(
  base: string,
  target: VmTarget,
): { readonly folder: string; readonly journal: Journal } | undefined {
  const { qmp, pid = pidOfRoot(qmp) } = target;
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
