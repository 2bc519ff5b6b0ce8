// XBZRLE: a page as its difference from what it was before (QEMU 10.0 migration/xbzrle.c).

import { CprkitError } from "../../vmstate/error.ts";

/**
 * Applies `delta` to `page`, which holds the page's content so far, in place. The delta is a repetition of: how many
 * bytes stay, how many are replaced, the replacements; both counts as ULEB128 of one or two bytes.
 * Throws ERR_EOF, ERR_BAD_BYTE or ERR_RANGE with the offset inside the delta; `page` may be changed in part then.
 */
export function applyXbzrle(page: Uint8Array, delta: Uint8Array): void {
  let from = 0;
  let to = 0;
  const count = (what: string): number => {
    const first = byteAt(delta, from);
    const second = first < 0x80 ? 0 : byteAt(delta, from + 1);
    if (second >= 0x80) {
      throw new CprkitError("ERR_BAD_BYTE", `expected a count of at most two bytes, found a third (${what})`, {
        offset: from,
      });
    }
    from += first < 0x80 ? 1 : 2;
    return (first & 0x7f) | (second << 7);
  };
  while (from < delta.length) {
    const start = from;
    const kept = count("bytes that stay");
    if (kept === 0 && start > 0) throw wrong("ERR_BAD_BYTE", "0 bytes that stay, after the first run", start);
    to += kept;
    if (from === delta.length) {
      if (to > page.length) throw wrong("ERR_RANGE", `${to} bytes, where the page has ${page.length}`, start);
      return;
    }
    const at = from;
    const replaced = count("bytes that are replaced");
    if (replaced === 0) throw wrong("ERR_BAD_BYTE", "0 bytes that are replaced", at);
    if (to + replaced > page.length) {
      throw wrong("ERR_RANGE", `${to + replaced} bytes, where the page has ${page.length}`, at);
    }
    if (from + replaced > delta.length) throw wrong("ERR_EOF", `${delta.length - from} of ${replaced} bytes`, from);
    page.set(delta.subarray(from, from + replaced), to);
    from += replaced;
    to += replaced;
  }
}

function byteAt(delta: Uint8Array, at: number): number {
  const byte = delta[at];
  if (byte === undefined) throw wrong("ERR_EOF", "its end", at);
  return byte;
}

function wrong(code: "ERR_EOF" | "ERR_BAD_BYTE" | "ERR_RANGE", found: string, offset: number): CprkitError {
  return new CprkitError(code, `expected the rest of an XBZRLE delta, found ${found}`, { offset });
}
