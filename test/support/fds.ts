// Finds leaked file descriptors by comparing /proc/self/fd before and after.
import { readdirSync, readlinkSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/** The open fds of this process, each with its link text; the fd that lists the folder itself is not among them. */
export function openFds(): Map<number, string> {
  const fds = new Map<number, string>();
  for (const name of readdirSync("/proc/self/fd")) {
    try {
      fds.set(Number(name), readlinkSync(`/proc/self/fd/${name}`));
    } catch {
      // Closed since the folder was read: the one that read it.
    }
  }
  return fds;
}

/**
 * Runs `action` and checks that it leaves no fd open and closes none that was open before. Node closes sockets a
 * little after they are told to, so the check is repeated for up to a second.
 *
 * @throws {Error} names each fd too many or too few, with its link text
 */
export async function expectNoFdLeak<T>(action: () => T | Promise<T>): Promise<T> {
  const before = openFds();
  const result = await action();
  let problems: string[] = [];
  for (let attempt = 0; attempt < 50; attempt++) {
    problems = differences(before, openFds());
    if (problems.length === 0) return result;
    await sleep(20);
  }
  throw new Error(`the open fds changed: ${problems.join(", ")}`);
}

/** As {@link expectNoFdLeak}, but one fd may have taken the place of another: where a peer connects to us anew. */
export async function expectAsManyFds<T>(action: () => T | Promise<T>): Promise<T> {
  const before = openFds();
  const result = await action();
  for (let attempt = 0; attempt < 50; attempt++) {
    if (openFds().size === before.size) return result;
    await sleep(20);
  }
  throw new Error(`the number of open fds changed: ${differences(before, openFds()).join(", ")}`);
}

function differences(before: ReadonlyMap<number, string>, after: ReadonlyMap<number, string>): string[] {
  const leaked = [...after]
    .filter(([fd, link]) => before.get(fd) !== link)
    .map(([fd, link]) => `left open ${fd} (${link})`);
  const lost = [...before].filter(([fd]) => !after.has(fd)).map(([fd, link]) => `closed ${fd} (${link})`);
  return [...leaked, ...lost];
}
