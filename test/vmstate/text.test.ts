// Text without a loss: every byte string comes back, and what is valid UTF-8 reads as Node reads it.
import { expect, test } from "vitest";
import { decodeText, encodeText, textBytes, textLength } from "../../src/vmstate/index.ts";
import { bytesOf, caught, codeOf, hexOf } from "./table.ts";

const decode = (bytes: Uint8Array) => decodeText(bytes, 0, bytes.length);

test("all 256 bytes, alone and together", () => {
  const all = Uint8Array.from({ length: 256 }, (_, i) => i);
  for (const byte of all) expect(hexOf(textBytes(decode(Uint8Array.of(byte))))).toBe(hexOf(Uint8Array.of(byte)));
  expect(hexOf(textBytes(decode(all)))).toBe(hexOf(all));
});

test.each([
  ["a continuation byte alone", "80", "\udc80"],
  ["an overlong slash", "c0af", "\udcc0\udcaf"],
  ["an overlong NUL", "c080", "\udcc0\udc80"],
  ["an overlong three", "e08080", "\udce0\udc80\udc80"],
  ["an overlong four", "f0808080", "\udcf0\udc80\udc80\udc80"],
  ["a surrogate", "eda080", "\udced\udca0\udc80"],
  ["a surrogate pair (CESU-8)", "eda081edb080", "\udced\udca0\udc81\udced\udcb0\udc80"],
  ["beyond U+10FFFF", "f4908080", "\udcf4\udc90\udc80\udc80"],
  ["five bytes", "f888808080", "\udcf8\udc88\udc80\udc80\udc80"],
  ["cut off", "e282", "\udce2\udc82"],
  ["cut off, then ASCII", "e28241", "\udce2\udc82A"],
  ["the last of two bytes", "dfbf", "\u07ff"],
  ["the first of three", "e0a080", "\u0800"],
  ["just below the surrogates", "ed9fbf", "\ud7ff"],
  ["the last of three", "efbfbf", "\uffff"],
  ["the first of four", "f0908080", "\u{10000}"],
  ["the last of four", "f48fbfbf", "\u{10ffff}"],
])("%s", (_title, hex, text) => {
  expect(decode(bytesOf(hex))).toBe(text);
  expect(hexOf(textBytes(text))).toBe(hex);
  expect(textLength(text)).toBe(hex.length / 2);
});

test.each(["\ud800", "\udc00", "\udc7f", "\udd00", "\udfff", "a\udbffb"])("%j stands for no byte", (text) => {
  expect(codeOf(caught(() => textLength(text)))).toBe("ERR_VALUE");
  expect(codeOf(caught(() => encodeText(text, new Uint8Array(16), 0)))).toBe("ERR_VALUE");
});

/** xorshift32: the same bytes in every run. */
function randomBytes(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}

test("20,000 seeded byte strings, against Node's decoder where they are valid", () => {
  const random = randomBytes(0x5eed);
  const fatal = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  // Bytes near the borders of UTF-8's rules, so that much of it is nearly valid.
  const likely = [
    0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc2, 0xdf, 0xe0, 0xed, 0xef, 0xf0, 0xf4, 0xf5, 0xff,
  ];
  let valid = 0;
  for (let round = 0; round < 20_000; round++) {
    const bytes = Uint8Array.from({ length: random(7) }, () => likely[random(likely.length)] as number);
    const text = decode(bytes);
    expect(hexOf(textBytes(text))).toBe(hexOf(bytes));
    let known: string | undefined;
    try {
      known = fatal.decode(bytes);
    } catch {}
    if (known === undefined) expect(/[\udc80-\udcff]/.test(text)).toBe(true);
    else {
      valid++;
      expect(text).toBe(known);
      expect(hexOf(textBytes(text))).toBe(Buffer.from(text).toString("hex"));
    }
  }
  expect(valid).toBeGreaterThan(1000);
});

test("long text, across every internal piece", () => {
  for (const length of [4095, 4096, 4097, 20_000]) {
    for (const unit of ["a", "\u00e9", "\u{1f600}", "\udcff"]) {
      const text = unit.repeat(length);
      expect(decode(textBytes(text))).toBe(text);
    }
  }
});
