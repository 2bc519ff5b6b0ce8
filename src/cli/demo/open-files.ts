// The real fds of the demo: memfds with content, eventfds with a count, connected sockets.

import { readSync, writeSync } from "node:fs";
import {
  closeFds,
  compareOpenFiles,
  createEventfd,
  createMemfd,
  readFdInfo,
  readFdLink,
  socketPair,
} from "../../linux/index.ts";
import type { FdKey } from "./names.ts";

type Kind = "memfd" | "eventfd" | "socket";

const kindOf = (at: number): Kind => (["memfd", "eventfd", "socket"] as const)[at % 3] as Kind;

/** Opens one fd for each key. `extra`: the other ends of the sockets, to be closed at the end as well. */
export function openFiles(keys: readonly FdKey[]): { readonly fds: number[]; readonly extra: number[] } {
  const fds: number[] = [];
  const extra: number[] = [];
  try {
    for (const [at, key] of keys.entries()) {
      if (kindOf(at) === "eventfd") fds.push(createEventfd({ initial: at }));
      else if (kindOf(at) === "memfd") {
        const fd = createMemfd(`demo-${at}`);
        fds.push(fd);
        writeSync(fd, content(key));
      } else {
        const [fd, other] = socketPair();
        fds.push(fd);
        extra.push(other);
      }
    }
  } catch (error) {
    closeFds([...fds, ...extra]);
    throw error;
  }
  return { fds, extra };
}

/** Counts how many of the fds of process `pid` are the very files that were opened here. */
export function countSame(
  keys: readonly FdKey[],
  own: readonly number[],
  pid: number,
  theirs: readonly number[],
): number {
  return keys.filter((key, at) => isSame(key, at, own[at] as number, pid, theirs[at] ?? -1)).length;
}

function isSame(key: FdKey, at: number, own: number, pid: number, theirs: number): boolean {
  if (theirs < 0) return false;
  const order = compareOpenFiles(own, { pid, fd: theirs });
  if (order !== "same-inode") return order === "same";
  // Where the kernel does not compare open files: by what is inside.
  switch (kindOf(at)) {
    case "memfd":
      return readFdLink(pid, theirs).includes(`demo-${at}`) && contentOf(own) === content(key);
    case "eventfd":
      return readFdInfo(pid, theirs).eventfdCount === BigInt(at);
    case "socket":
      return readFdLink(pid, theirs) === readFdLink("self", own);
  }
}

/** The new process's own proof: the memfd that it got holds the key that it asked for. */
export function holdsItsKey(key: FdKey, at: number, fd: number): boolean {
  return kindOf(at) !== "memfd" || contentOf(fd) === content(key);
}

function content({ name, id }: FdKey): string {
  return `${name} id ${id}`;
}

function contentOf(fd: number): string {
  const bytes = Buffer.alloc(256);
  return bytes.toString("utf8", 0, readSync(fd, bytes, 0, bytes.length, 0));
}
