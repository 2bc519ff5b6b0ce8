// A small seeded random number generator: a failing case can be run again from its seed.

export interface Random {
  /** An integer from 0 to `limit` - 1. */
  below(limit: number): number;
  /** One of `items`, which must not be empty. */
  pick<T>(items: readonly T[]): T;
}

/** Always the same sequence for the same `seed` (splitmix32). */
export function seeded(seed: number): Random {
  let state = seed | 0;
  const next = () => {
    state = (state + 0x9e3779b9) | 0;
    let mixed = state ^ (state >>> 16);
    mixed = Math.imul(mixed, 0x21f0aaad);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  };
  const below = (limit: number) => Math.floor((next() / 2 ** 32) * limit);
  return { below, pick: (items) => items[below(items.length)] as (typeof items)[number] };
}
