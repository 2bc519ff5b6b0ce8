import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { eventBudget } from "../../src/qemu/qmp/event-budget.ts";
import { qmpLines } from "../../src/qemu/qmp/lines.ts";
import { isCprkitError } from "../../src/vmstate/error.ts";

function codeOf(run: () => void): string {
  try {
    run();
  } catch (error) {
    if (isCprkitError(error)) return error.code;
    throw error;
  }
  return "none";
}

describe("qmpLines", () => {
  it("finds the same messages however the bytes are cut, one to a line or pretty", () => {
    const message = fc.dictionary(fc.string({ unit: "grapheme" }), fc.jsonValue(), { minKeys: 1 });
    const layout = fc.record({ pretty: fc.boolean(), crlf: fc.boolean(), message });
    fc.assert(
      fc.property(fc.array(layout), fc.array(fc.nat(400)), (all, cuts) => {
        const text = all.map(({ pretty, crlf, message: value }) => {
          const end = crlf ? "\r\n" : "\n";
          return JSON.stringify(value, null, pretty ? 4 : 0).replaceAll("\n", end) + end;
        });
        const bytes = Buffer.from(text.join(""));
        const lines = qmpLines();
        const found: unknown[] = [];
        let from = 0;
        for (const cut of [...cuts, bytes.length]) {
          lines.push(bytes.subarray(from, from + cut), (value) => found.push(value));
          from += cut;
        }
        expect(found).toEqual(all.map(({ message: value }) => JSON.parse(JSON.stringify(value))));
        expect(lines.unfinishedBytes()).toBe(0);
      }),
      { numRuns: 200 },
    );
  });

  it("gives up at the limit, and not before, without waiting for the line's end", () => {
    const fits = `{"a":"${"x".repeat(92)}"}`;
    expect(fits).toHaveLength(100);
    expect(codeOf(() => qmpLines(100).push(Buffer.from(`${fits}\n${fits}\n`), () => {}))).toBe("none");
    expect(codeOf(() => qmpLines(99).push(Buffer.from(fits), () => {}))).toBe("ERR_QMP");
    const endless = qmpLines(1000);
    expect(
      codeOf(() => {
        for (let i = 0; i < 200; i += 1) endless.push(Buffer.from(i === 0 ? "{\n" : "    1,\n"), () => {});
      }),
    ).toBe("ERR_QMP");
    expect(codeOf(() => qmpLines(1000).push(Buffer.from(`{\n${"\r\n".repeat(2000)}`), () => {}))).toBe("ERR_QMP");
  });

  it("refuses what is nested deeper than QEMU's own parser takes, before it is parsed; brackets in text don't count", () => {
    const nested = (depth: number) => Buffer.from(`{"a":${"[".repeat(depth - 1)}${"]".repeat(depth - 1)}}\n`);
    expect(codeOf(() => qmpLines().push(nested(1024), () => {}))).toBe("none");
    expect(codeOf(() => qmpLines().push(nested(1025), () => {}))).toBe("ERR_QMP");
    expect(codeOf(() => qmpLines().push(Buffer.from(`${"[".repeat(1_000_000)}\n`), () => {}))).toBe("ERR_QMP");
    const text = JSON.stringify({ a: `"\\${"[".repeat(5000)}` });
    expect(codeOf(() => qmpLines().push(Buffer.from(`${text}\n`), () => {}))).toBe("none");
  });

  it("never throws anything but its own error on arbitrary bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(["none", "ERR_QMP"]).toContain(codeOf(() => qmpLines().push(bytes, () => {})));
      }),
    );
  });
});

describe("eventBudget", () => {
  it("takes what QEMU sends for ever, and ends a flood", () => {
    let ms = 0;
    const steady = eventBudget(() => ms);
    // 20,000 events of 400 bytes a second for ten minutes.
    for (; ms < 600_000; ms += 10) for (let i = 0; i < 200; i++) steady(400);
    let came = 0;
    const flooded = eventBudget(() => came / 70_000);
    // 70 MB a second.
    const flood = () => {
      for (; came < 1e9; came += 1000) flooded(1000);
    };
    expect(codeOf(flood)).toBe("ERR_QMP");
    expect(came).toBeLessThan(200e6);
  });
});
