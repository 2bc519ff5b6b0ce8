// Broken streams: each is refused with one clear error or read rightly, and costs nothing else. `npm run fuzz` searches
// for other ones, guided by coverage.

import { describe, expect, it } from "vitest";
import { judge, type Verdict } from "../../fuzz/cpr-state.ts";
import { loadCprState, saveCprState } from "../../src/cpr/index.ts";
import { seeded } from "../support/random.ts";
import { captures, fdsAtTheirBytes } from "./captures.ts";
import { grown, mutate, type Original } from "./mutate.ts";

const seed = 20260301;
const cases = 10_000;

/** What reading and saving `length` bytes may take at most; an honest 9,221 bytes take about 600 KB. */
const allowed = (length: number) => 2 ** 20 + length * 300;

const hashCaptures = captures.map((capture) => {
  const { bytes, form } = capture;
  const { state } = loadCprState({ bytes });
  return {
    ...capture,
    name: `${capture.name} as a hash table`,
    bytes: saveCprState(state, { abi: "hash", fdForm: form }).bytes,
  };
});

describe("a capture cut after any number of bytes", () => {
  const complete = ["microvm-min-10.0", "q35-min-11.1", "exec-microvm-11.1", "pc-5names-10.0", "exec-pc-5names-11.1"];

  it.each(captures.filter(({ name }) => complete.includes(name)))(
    "$name is refused, or is a whole list by itself",
    (capture) => {
      const { bytes, sidecar } = capture;
      const { fdListEnd, subsections } = sidecar;
      // Three cuts leave what some QEMU sends: the list alone (10.0), and the subsection without a body.
      const whole = new Set([fdListEnd, bytes.length, ...subsections.map(() => bytes.length - 1)]);
      for (let length = 0; length <= bytes.length; length++) {
        const cut = bytes.slice(0, length);
        expect([length, judge(cut, undefined)]).toEqual([length, whole.has(length) ? "read" : "refused"]);
        if (whole.has(length)) continue;
        expect(() => loadCprState({ bytes: cut })).toThrow(expect.objectContaining({ code: "ERR_EOF" }));
      }
    },
  );

  it.each(hashCaptures.filter(({ name }) => complete.some((one) => name.startsWith(one))))(
    "$name, too",
    ({ bytes, sidecar }) => {
      const tail = bytes.length - (sidecar.subsections.length === 0 ? 0 : 28);
      // 00 alone is also the empty list of QEMU 10.0.
      const whole = new Set([9, tail, bytes.length, bytes.length - (sidecar.subsections.length === 0 ? 0 : 1)]);
      for (let length = 0; length <= bytes.length; length++) {
        const verdict = judge(bytes.slice(0, length), undefined);
        expect([length, verdict]).toEqual([length, whole.has(length) ? "read" : "refused"]);
      }
    },
  );
});

describe.each([...captures, ...hashCaptures])(`$name broken in many ways (seed ${seed})`, (capture) => {
  const original: Original = {
    bytes: capture.bytes,
    boundaries: boundariesOf(capture.bytes),
    countAt: hashCaptures.includes(capture) ? 8 : undefined,
  };
  const fds = capture.form === "passed" ? fdsAtTheirBytes(capture) : undefined;

  it(`is refused or read rightly ${cases} times`, () => {
    const counts: Record<Verdict, number> = { refused: 0, read: 0, "read without repeated keys": 0 };
    for (let at = 0; at < cases; at++) {
      const bytes = mutate(original, seeded(seed + at));
      try {
        // With and without fds, in turn.
        const growth = grown(() => counts[judge(bytes, at % 2 === 0 ? undefined : fds)]++);
        if (growth > allowed(bytes.length))
          throw new Error(`allocated ${growth} bytes for a stream of ${bytes.length}`);
      } catch (error) {
        const hex = Array.from(bytes.subarray(0, 512), (byte) => byte.toString(16).padStart(2, "0")).join("");
        throw new Error(`${capture.name}, seed ${seed + at}, ${bytes.length} bytes ${hex}: ${String(error)}`, {
          cause: error,
        });
      }
    }
    // The faults must reach both ends of the reader, or they prove nothing.
    expect(counts.refused).toBeGreaterThan(0);
    expect(counts.read).toBeGreaterThan(0);
    expect(counts["read without repeated keys"]).toBeGreaterThan(0);
  });
});

describe("the measure itself", () => {
  it("sees an allocation that is not kept", () => {
    // The first may have V8 free what came before it.
    const seen = [1, 2, 3].map(() => grown(() => new Uint8Array(2 ** 24).fill(1, 0, 1)));
    expect(Math.max(...seen)).toBeGreaterThan(allowed(10_000));
  });

  it("sees bytes that are not saved back", () => {
    const [capture] = captures;
    const bytes = capture?.bytes ?? new Uint8Array();
    expect(judge(bytes, undefined)).toBe("read");
    expect(judge(bytes.slice(0, -1), undefined)).toBe("refused");
  });
});

function boundariesOf(bytes: Uint8Array): number[] {
  const boundaries: number[] = [];
  loadCprState(
    { bytes },
    {
      observer: {
        // An element begins after its mark.
        enter: (label, _type, offset) => {
          if (typeof label === "number") boundaries.push(offset - 1);
        },
        leave: () => {},
      },
    },
  );
  return boundaries;
}
