// The files that a process has open, as fstat(2) of each fd gives them.

import type { BigIntStats } from "node:fs";
import { listFds, readFdLink } from "../../linux/index.ts";
import { statFile } from "../../linux/process/stat-file.ts";
import { isCprkitError } from "../../vmstate/error.ts";
import type { Machine } from "./schema.ts";

type OpenFile = NonNullable<Machine["block"]["nodes"][number]["open"]>;

/** What process `pid` has open, by fd. @throws CprkitError ERR_SYSCALL when it may not be looked at */
export function fdLinks(pid: number): Map<number, string> {
  const links = new Map<number, string>();
  for (const fd of listFds(pid)) {
    try {
      links.set(fd, readFdLink(pid, fd));
    } catch (error) {
      // Closed meanwhile.
      if (!isCprkitError(error)) throw error;
    }
  }
  return links;
}

/** The file behind an fd; undefined for one that was closed meanwhile. */
export function openFile(pid: number, fd: number, link: string): OpenFile | undefined {
  const stat = statFile(`/proc/${pid}/fd/${fd}`);
  return stat === undefined ? undefined : { fd, link, device: deviceText(stat), inode: Number(stat.ino) };
}

/** "MAJOR:MINOR" (makedev(3)). */
function deviceText({ dev }: BigIntStats): string {
  const major = ((dev >> 8n) & 0xfffn) | ((dev >> 32n) & ~0xfffn);
  const minor = (dev & 0xffn) | ((dev >> 12n) & ~0xffn);
  return `${major}:${minor}`;
}
