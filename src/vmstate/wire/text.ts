// Text that survives: bytes to a JavaScript string and back without a loss, also when they are not valid UTF-8.
//
// A byte that is not part of valid UTF-8 becomes the lone surrogate U+DC80..U+DCFF ("surrogateescape", Python's PEP
// 383). Valid UTF-8 never decodes to a lone surrogate, so both directions are unambiguous. Written here because the
// pure folders may not count on TextDecoder, which has no such mode.

import { CprkitError } from "../error.ts";

/** Decodes `bytes[start..end)` without a loss; `encodeText` gives the same bytes back. Never throws. */
export function decodeText(bytes: Uint8Array, start: number, end: number): string {
  return isAscii(bytes, start, end) ? decodeAscii(bytes, start, end) : decodeNonAscii(bytes, start, end);
}

function isAscii(bytes: Uint8Array, start: number, end: number): boolean {
  let at = start;
  if (end - start > 64) {
    // Four at a time: a description is long, and this code not warm yet.
    while (((bytes.byteOffset + at) & 3) !== 0) if ((bytes[at++] as number) >= 0x80) return false;
    const words = new Uint32Array(bytes.buffer, bytes.byteOffset + at, (end - at) >> 2);
    for (let i = 0; i < words.length; i++) if (((words[i] as number) & 0x8080_8080) !== 0) return false;
    at += (end - at) & ~3;
  }
  for (; at < end; at++) if ((bytes[at] as number) >= 0x80) return false;
  return true;
}

/** Bytes that `text` takes when encoded. Throws ERR_VALUE for a lone surrogate outside U+DC80..U+DCFF. */
export function textLength(text: string): number {
  let length = 0;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) {
      length += 1;
    } else {
      const point = codePoint(text, i);
      length += encodedLength(point);
      if (point > 0xffff) i++;
    }
  }
  return length;
}

/**
 * Encodes `text` into `target` at `offset` and returns the offset after it. The caller has made room
 * ({@link textLength}). Throws ERR_VALUE for a lone surrogate outside U+DC80..U+DCFF.
 */
export function encodeText(text: string, target: Uint8Array, offset: number): number {
  let at = offset;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) {
      target[at++] = unit;
      continue;
    }
    const point = codePoint(text, i);
    if (point > 0xffff) i++;
    at = encodePoint(point, target, at);
  }
  return at;
}

/** The bytes of `text` in an array of their own. Throws as {@link encodeText}. */
export function textBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(textLength(text));
  encodeText(text, bytes, 0);
  return bytes;
}

// fromCharCode takes its characters as arguments: engines limit how many.
const chunk = 4096;

function decodeAscii(bytes: Uint8Array, start: number, end: number): string {
  if (end - start <= chunk) return String.fromCharCode.apply(null, bytes.subarray(start, end) as unknown as number[]);
  let text = "";
  for (let at = start; at < end; at += chunk) {
    text += String.fromCharCode.apply(null, bytes.subarray(at, Math.min(at + chunk, end)) as unknown as number[]);
  }
  return text;
}

function decodeNonAscii(bytes: Uint8Array, start: number, end: number): string {
  const units: number[] = [];
  let text = "";
  let at = start;
  while (at < end) {
    const length = sequenceLength(bytes, at, end);
    if (length === 0) {
      units.push(0xdc00 + (bytes[at] as number));
      at += 1;
    } else {
      const point = decodePoint(bytes, at, length);
      if (point > 0xffff) units.push(0xd7c0 + (point >> 10), 0xdc00 + (point & 0x3ff));
      else units.push(point);
      at += length;
    }
    if (units.length >= chunk) {
      text += String.fromCharCode(...units);
      units.length = 0;
    }
  }
  return text + String.fromCharCode(...units);
}

/** Length of the valid UTF-8 sequence at `at` (RFC 3629: shortest form, no surrogates, at most U+10FFFF), else 0. */
function sequenceLength(bytes: Uint8Array, at: number, end: number): 0 | 1 | 2 | 3 | 4 {
  const first = bytes[at] as number;
  if (first < 0x80) return 1;
  const length =
    first >= 0xc2 && first <= 0xdf ? 2 : first >= 0xe0 && first <= 0xef ? 3 : first >= 0xf0 && first <= 0xf4 ? 4 : 0;
  if (length === 0 || at + length > end) return 0;
  for (let i = 1; i < length; i++) {
    if (((bytes[at + i] as number) & 0xc0) !== 0x80) return 0;
  }
  const second = bytes[at + 1] as number;
  if (first === 0xe0 && second < 0xa0) return 0;
  if (first === 0xed && second > 0x9f) return 0;
  if (first === 0xf0 && second < 0x90) return 0;
  if (first === 0xf4 && second > 0x8f) return 0;
  return length;
}

function decodePoint(bytes: Uint8Array, at: number, length: 1 | 2 | 3 | 4): number {
  const first = bytes[at] as number;
  if (length === 1) return first;
  let point = first & (0xff >> (length + 1));
  for (let i = 1; i < length; i++) point = (point << 6) | ((bytes[at + i] as number) & 0x3f);
  return point;
}

function codePoint(text: string, at: number): number {
  const point = text.codePointAt(at) as number;
  if (point >= 0xd800 && point <= 0xdfff && (point < 0xdc80 || point > 0xdcff)) {
    throw new CprkitError(
      "ERR_VALUE",
      `text holds the lone surrogate U+${point.toString(16)}, which does not encode a byte`,
    );
  }
  return point;
}

function encodedLength(point: number): number {
  if (point >= 0xdc80 && point <= 0xdcff) return 1;
  return point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
}

function encodePoint(point: number, target: Uint8Array, offset: number): number {
  let at = offset;
  if (point >= 0xdc80 && point <= 0xdcff) {
    target[at++] = point - 0xdc00;
  } else if (point < 0x800) {
    target[at++] = 0xc0 | (point >> 6);
    target[at++] = 0x80 | (point & 0x3f);
  } else if (point < 0x10000) {
    target[at++] = 0xe0 | (point >> 12);
    target[at++] = 0x80 | ((point >> 6) & 0x3f);
    target[at++] = 0x80 | (point & 0x3f);
  } else {
    target[at++] = 0xf0 | (point >> 18);
    target[at++] = 0x80 | ((point >> 12) & 0x3f);
    target[at++] = 0x80 | ((point >> 6) & 0x3f);
    target[at++] = 0x80 | (point & 0x3f);
  }
  return at;
}
