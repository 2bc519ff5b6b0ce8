// What is in a file or capture beside the stream: bytes after its end, and answers of the return path in between.

import { CprkitError } from "../../vmstate/error.ts";
import type { Trailing } from "../model.ts";
import { item, magic, returnPath, streamVersion } from "./constants.ts";
import { itemFollows } from "./footer.ts";
import { note, type Walk, type WalkOptions } from "./walk-state.ts";
import { has, type Step, type Window } from "./window.ts";

/** How far behind the end another stream is looked for. */
const reach = 1024 * 1024;
const stride = 1024 * 1024;
/** More than this is not counted to its end. */
const maxCounted = 2 ** 32;

/** What follows the stream, whose end is at `w.pos`; undefined if the input ends here, or nobody wants to know. */
export function* readTrailing(w: Window, { inputSize, toEnd }: WalkOptions): Step<Trailing | undefined> {
  if (inputSize === undefined && toEnd !== true) return undefined;
  const { offset } = w;
  if (inputSize !== undefined && inputSize <= offset) return undefined;
  if (!(yield* has(w, 1))) return undefined;
  yield* has(w, Math.min(reach, (inputSize ?? Number.POSITIVE_INFINITY) - offset));
  const stream = streamIn(w);
  if (inputSize !== undefined) return { offset, size: inputSize - offset, stream };
  while (w.offset - offset <= maxCounted && (yield* has(w, 1))) {
    w.pos = w.end;
    yield* has(w, stride);
  }
  return { offset, size: w.offset - offset, stream };
}

function streamIn({ view, bytes, pos, end, base }: Window): number | undefined {
  for (let at = pos; ; at += 1) {
    at = bytes.indexOf(magic >>> 24, at);
    if (at < 0 || at + 8 > end) return undefined;
    if (view.getUint32(at) === magic && view.getUint32(at + 4) === streamVersion) return base + at;
  }
}

/**
 * A capture of both directions has the destination's answers between the sections, and each begins with the byte of the
 * stream's end. Steps over them, where the stream continues after them; false if this is the end.
 */
export function* skipReturnPath(w: Window, walk: Walk): Step<boolean> {
  const offset = w.offset - 1;
  const names: string[] = [];
  let ahead = -1;
  for (;;) {
    const length = yield* answerLength(w, ahead);
    if (length === undefined) break;
    names.push(returnPath[w.bytes[w.pos + ahead + 1] as number]?.name ?? "");
    ahead += 4 + length;
  }
  if (names.length === 0 || !(yield* has(w, ahead + 1)) || !(yield* itemFollows(w, ahead, walk.started))) return false;
  w.pos += ahead;
  const kinds = [...new Set(names)].join(", ");
  const reason = `answers of the return path (${kinds}) are between the sections: the capture holds both directions; they were skipped`;
  note(walk, new CprkitError("ERR_BAD_STREAM", reason, { offset }));
  return true;
}

/** Length of the payload of the answer that is `ahead` bytes from here; undefined if there is none. */
function* answerLength(w: Window, ahead: number): Step<number | undefined> {
  if (!(yield* has(w, ahead + 4)) || w.bytes[w.pos + ahead] !== 0) return undefined;
  const answer = returnPath[w.bytes[w.pos + ahead + 1] as number];
  const length = w.view.getUint16(w.pos + ahead + 2);
  if (answer === undefined || length < answer.shortest || length > answer.longest) return undefined;
  if (!(yield* has(w, ahead + 4 + length))) return undefined;
  // The end and a description whose length looks the same: JSON begins with a brace.
  const json = w.bytes[w.pos + ahead + 1] === item.description && w.bytes[w.pos + ahead + 6] === 0x7b;
  return json ? undefined : length;
}
