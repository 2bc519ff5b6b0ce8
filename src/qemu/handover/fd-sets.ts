// Fd sets: what a parent process gave QEMU by -add-fd, or a monitor by add-fd, under a number that /dev/fdset/N names. QEMU
// keeps a duplicate under a number of its own (QEMU 10.0 monitor/fds.c), which query-fdsets tells.

import { type CommandOption, formatKeyValues } from "../command-line/parse.ts";
import type { Held } from "./held.ts";

/** -add-fd for each fd that is in a set now, with the words that its giver has written there. */
export function setWords(
  held: readonly Held[],
  give: (name: string, id: number, held: Held) => number,
): CommandOption[] {
  return held.flatMap((one) => {
    if (one.kind !== "fdset") return [];
    const id = held.filter(({ kind, at, fd }) => kind === "fdset" && at === one.at && fd < one.fd).length;
    const words = [
      ["fd", String(give(`cprkit/fdset/${one.at}`, id, one))],
      ["set", one.at],
    ] as const;
    const opaque = one.opaque === undefined ? [] : [["opaque", one.opaque] as const];
    return [{ name: "add-fd", value: formatKeyValues([...words, ...opaque]) }];
  });
}

/** Whether all sets that a value names are there, with an fd. */
export function hasItsSets(value: string, held: readonly Held[]): boolean {
  const named = [...value.matchAll(/\/dev\/fdset\/(\d+)/g)].map(([, number]) => number);
  return named.every((number) => held.some(({ kind, at }) => kind === "fdset" && at === number));
}
