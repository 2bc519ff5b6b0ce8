// Annotated bytes: every field with its offset, its bytes and its value beside them.

import type { Span } from "../../vmstate/index.ts";
import { printable } from "./text.ts";

const perLine = 16;

/** Every byte of `bytes` once, in lines of at most 16, with the field it belongs to. Offsets in `spans` are of `bytes`. */
export function annotated(bytes: Uint8Array, spans: readonly Span[]): string {
  const lines: string[] = [];
  let at = 0;
  const dump = (end: number, label: string, depth: number) => {
    let text = label;
    for (; at < end; at += perLine) {
      const part = bytes.subarray(at, Math.min(at + perLine, end));
      lines.push(line(at, hexDigits(part), depth, text));
      text = "";
    }
    at = end;
  };
  for (const [index, span] of spans.entries()) {
    if (span.start > at) dump(span.start, "(mark)", span.depth);
    const hasParts = (spans[index + 1]?.depth ?? 0) > span.depth;
    if (hasParts) lines.push(line(span.start, "", span.depth, `${label(span)} (${span.type})`));
    else dump(span.end, `${label(span)}: ${valueText(span.value)} (${span.type})`, span.depth);
  }
  if (at < bytes.length) dump(bytes.length, "(end)", 0);
  return `${lines.join("\n")}\n`;
}

function line(offset: number, digits: string, depth: number, text: string): string {
  return `${offset.toString(16).padStart(6, "0")}  ${digits.padEnd(perLine * 3)} ${"  ".repeat(depth)}${text}`.trimEnd();
}

function hexDigits(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
}

/** The last part of the path: "namelen", or "[3]" for an element; of a subsection, whose name has slashes, all below the root. */
function label({ path, type }: Span): string {
  return type === "subsection" ? path.slice(path.indexOf("/") + 1) : (/(\[\d+\]|[^/[\]]+)$/.exec(path)?.[0] ?? path);
}

function valueText(value: unknown): string {
  if (typeof value === "string") return `"${printable(value)}"`;
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (Array.isArray(value)) return value.length === 0 ? "empty" : `${value.length} elements`;
  if (typeof value === "object" && value !== null) return "{}";
  return String(value);
}
