// Which VM is in which wave: decided once, when the plan is frozen.

import type { Policy } from "./policy.ts";

export interface Place {
  readonly host: string;
  readonly vm: string;
}

/**
 * The waves in order, each with its VMs; every VM is in one of them. A wave is spread over as many hosts as it can be: one
 * VM of each, then a second one of each, and so on.
 */
export function assignWaves<T extends Place>(vms: readonly T[], { waves }: Pick<Policy, "waves">): T[][] {
  const order = spread(vms);
  const result: T[][] = [];
  let at = 0;
  for (const wave of [...waves, "100%"]) {
    const end = typeof wave === "number" ? at + wave : Math.ceil((order.length * Number.parseFloat(wave)) / 100);
    const next = order.slice(at, Math.max(at, end));
    if (next.length > 0) result.push(next);
    at += next.length;
  }
  return result;
}

function spread<T extends Place>(vms: readonly T[]): T[] {
  const sorted = [...vms].sort((a, b) => compare(a.host, b.host) || compare(a.vm, b.vm));
  const counts = new Map<string, number>();
  const rounds = sorted.map((vm) => {
    const round = counts.get(vm.host) ?? 0;
    counts.set(vm.host, round + 1);
    return { vm, round };
  });
  return rounds.sort((a, b) => a.round - b.round).map(({ vm }) => vm);
}

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
