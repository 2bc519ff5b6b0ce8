// Times N look-ups among N fds: in a linked list, as QEMU up to 11.0 keeps them, and in CprState.

import { CprState } from "../../cpr/index.ts";
import { realisticKeys } from "./names.ts";

export interface LookUpTime {
  readonly fds: number;
  /** Nanoseconds for all N look-ups: the least and the median of the rounds. */
  readonly list: { readonly min: number; readonly median: number };
  readonly hash: { readonly min: number; readonly median: number };
}

/** What the RFC measured: total ns for N look-ups, QLIST and GHashTable. */
export const rfcFigures: Readonly<Record<number, { readonly list: number; readonly hash: number }>> = {
  540: { list: 936_753, hash: 393_358 },
  2870: { list: 24_102_342, hash: 2_212_113 },
  7530: { list: 152_715_916, hash: 5_474_310 },
};

const rounds = 7;

/** Measures one size. Every round finds each key once, in an order of no pattern, and checks what it found. */
export function timeLookUps(fds: number): LookUpTime {
  const keys = realisticKeys(fds);
  const state = new CprState();
  let head: ListNode | undefined;
  keys.forEach(({ name, id }, fd) => {
    state.saveFd(name, id, fd);
    head = { name, id, fd, next: head };
  });
  const list = head;
  const order = shuffled(keys.map(({ name, id }, fd) => ({ name, id, fd })));
  const findAll = (find: (name: string, id: number) => number) => {
    for (const { name, id, fd } of order) {
      if (find(name, id) !== fd) throw new Error(`look-up of ${name} id ${id} went wrong`);
    }
  };
  return {
    fds,
    list: timed(() => findAll((name, id) => findInList(list, name, id))),
    hash: timed(() => findAll((name, id) => state.findFd(name, id))),
  };
}

interface ListNode {
  readonly name: string;
  readonly id: number;
  readonly fd: number;
  readonly next: ListNode | undefined;
}

function findInList(head: ListNode | undefined, name: string, id: number): number {
  for (let node = head; node !== undefined; node = node.next) {
    if (node.name === name && node.id === id) return node.fd;
  }
  return -1;
}

/** Long enough for the engine to have compiled what is measured. */
const warmUpMs = 30;

function timed(work: () => void): { min: number; median: number } {
  const warm = performance.now() + warmUpMs;
  do work();
  while (performance.now() < warm);
  const times = Array.from({ length: rounds }, () => {
    const start = process.hrtime.bigint();
    work();
    return Number(process.hrtime.bigint() - start);
  }).sort((a, b) => a - b);
  return { min: times[0] as number, median: times[rounds >> 1] as number };
}

/** The same order on every run: a multiplicative generator is random enough here. */
function shuffled<T>(values: readonly T[]): T[] {
  const order = [...values];
  let seed = 12345;
  for (let at = order.length - 1; at > 0; at--) {
    seed = (seed * 48271) % 0x7fffffff;
    const other = seed % (at + 1);
    [order[at], order[other]] = [order[other] as T, order[at] as T];
  }
  return order;
}
