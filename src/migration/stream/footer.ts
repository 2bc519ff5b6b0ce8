// Finding a section's end by its footer, if nothing else shows it.

import { item } from "./constants.ts";
import { has, type Step, type Window } from "./window.ts";

/** A section of unknown length that is longer is not searched for its end. */
const maxOpaque = 256 * 1024 * 1024;
const stride = 64 * 1024;

export interface FooterSearch {
  readonly id: number;
  /** Sections by id that PART and END may continue. */
  readonly started: ReadonlyMap<number, unknown>;
  /** Keep what is searched in the window, so that the body can be read afterwards. */
  readonly keep: boolean;
  /** Bytes that may be kept; default 256 MiB. */
  readonly most?: number | undefined;
}

/**
 * Bytes from `w.pos` to the footer `7e id` that a legal item follows; undefined if there is none. Without `keep`,
 * `w.pos` moves along and the answer is 0.
 */
export function* findFooter(w: Window, search: FooterSearch): Step<number | undefined> {
  let at = 0;
  for (;;) {
    const found = w.bytes.indexOf(item.footer, w.pos + at);
    if (found < 0 || found >= w.end) {
      at = Math.max(0, w.available);
      if (!search.keep) {
        w.pos += at;
        at = 0;
      }
      if (at > Math.min(maxOpaque, search.most ?? maxOpaque)) return undefined;
      // Ask for more only after much was searched: a live sender may be waiting for an answer.
      if (!(yield* has(w, at + 1))) return undefined;
      if (at >= stride) yield* has(w, at * 2);
      continue;
    }
    at = found - w.pos;
    if (!(yield* has(w, at + 5))) return undefined;
    if (w.view.getUint32(w.pos + at + 1) === search.id && (yield* itemFollows(w, at + 5, search.started))) {
      if (search.keep) return at;
      w.pos += at;
      return 0;
    }
    at += 1;
  }
}

/** True if a legal item, or the end of the input, is `at` bytes ahead. An item may be cut by the input's end. */
export function* itemFollows(w: Window, at: number, started: ReadonlyMap<number, unknown>): Step<boolean> {
  if (!(yield* has(w, at + 1))) return w.available === at;
  switch (w.bytes[w.pos + at]) {
    case item.end:
      return !(yield* has(w, at + 2)) || w.bytes[w.pos + at + 1] === item.description;
    case item.start:
    case item.full:
      return yield* headerFollows(w, at + 1);
    case item.part:
    case item.final:
      return !(yield* has(w, at + 5)) || started.has(w.view.getUint32(w.pos + at + 1));
    case item.command: {
      if (!(yield* has(w, at + 5))) return true;
      const number = w.view.getUint16(w.pos + at + 1);
      return number > 0 && number < 64;
    }
    default:
      return false;
  }
}

/** True for a section's id and a name. Version and instance may be any: an EEPROM's version is 20061112. */
function* headerFollows(w: Window, at: number): Step<boolean> {
  if (!(yield* has(w, at + 5))) return true;
  const length = w.bytes[w.pos + at + 4] as number;
  if (length === 0) return false;
  yield* has(w, at + 5 + length);
  const start = w.pos + at + 5;
  for (let i = start; i < Math.min(start + length, w.end); i++) {
    const byte = w.bytes[i] as number;
    if (byte < 0x20 || byte > 0x7e) return false;
  }
  return true;
}
