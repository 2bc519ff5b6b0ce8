// The inputs that `npm run fuzz` has found so far, and some thousands made of them: every target must hold.

import { readdirSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { packed, unpacked } from "../../fuzz/corpus.mjs";
import type { Target } from "../../fuzz/target.ts";
import { seeded } from "../support/random.ts";
import { changed } from "./change.ts";

const targets = readdirSync(new URL("../../fuzz/targets", import.meta.url)).map((file) => file.replace(/\.ts$/, ""));
const milliseconds = 2000;
const seed = 20261125;

describe.each(targets)("%s", async (name) => {
  const { fuzz } = (await import(`../../fuzz/targets/${name}.ts`)) as { fuzz: Target };
  const inputs = unpacked(name);

  it("holds for its saved inputs", () => {
    expect(inputs.length).toBeGreaterThan(2);
    for (const input of inputs) named(input, () => fuzz(input));
  });

  it(`holds for inputs made of them from seed ${seed}`, () => {
    const until = performance.now() + milliseconds;
    let runs = 0;
    for (; performance.now() < until; runs++) {
      const input = changed(inputs, seeded(seed + runs));
      named(input, () => fuzz(input));
    }
    expect(runs).toBeGreaterThan(100);
  });
});

it("the saved inputs are kept in an order of their own, each once", () => {
  const [a, b] = [Uint8Array.of(1, 2, 3), Uint8Array.of(4)];
  expect(packed([a, b, a])).toBe("AQID\nBA==\n");
});

/** With the input in the error: a line for fuzz/corpus. */
function named(input: Uint8Array, work: () => void): void {
  try {
    work();
  } catch (error) {
    throw new Error(`${String(error)}\ninput: ${Buffer.from(input).toString("base64")}`, { cause: error });
  }
}
