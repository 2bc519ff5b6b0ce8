// Annotated bytes: every field with its offset, its bytes and its value beside them.

import type { Observer } from "../vmstate/index.ts";
import { printable } from "./text.ts";

/** A field, element or body that was read. `end` is exclusive. */
interface Span {
  readonly label: string;
  readonly type: string;
  readonly depth: number;
  readonly start: number;
  end: number;
  value: unknown;
  leaf: boolean;
}

/** Collects what a reader sees. */
export function spanCollector(): { readonly observer: Observer; readonly spans: readonly Span[] } {
  const spans: Span[] = [];
  const open: Span[] = [];
  return {
    spans,
    observer: {
      enter: (label, type, offset) => {
        const parent = open.at(-1);
        if (parent !== undefined) parent.leaf = false;
        const span = {
          label: typeof label === "number" ? `[${label}]` : label,
          type,
          depth: open.length,
          start: offset,
          end: offset,
          value: undefined,
          leaf: true,
        };
        spans.push(span);
        open.push(span);
      },
      leave: (offset, value) => {
        const span = open.pop();
        if (span === undefined) return;
        span.end = offset;
        span.value = value;
      },
    },
  };
}

const perLine = 16;

/** Every byte of `bytes` once, in lines of at most 16, with the field it belongs to. */
export function annotated(bytes: Uint8Array, spans: readonly Span[]): string {
  const lines: string[] = [];
  let at = 0;
  const dump = (end: number, label: string, depth: number) => {
    let text = label;
    for (; at < end; at += perLine) {
      const part = bytes.subarray(at, Math.min(at + perLine, end));
      const digits = [...part].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
      lines.push(
        `${at.toString(16).padStart(6, "0")}  ${digits.padEnd(perLine * 3)} ${"  ".repeat(depth)}${text}`.trimEnd(),
      );
      text = "";
    }
    at = Math.max(at, end);
    at = end;
  };
  for (const span of spans) {
    if (span.start > at) dump(span.start, "(mark)", span.depth);
    if (span.leaf) dump(span.end, `${span.label}: ${valueText(span.value)} (${span.type})`, span.depth);
    else
      lines.push(
        `${span.start.toString(16).padStart(6, "0")}  ${" ".repeat(perLine * 3)} ${"  ".repeat(span.depth)}${span.label} (${span.type})`,
      );
  }
  if (at < bytes.length) dump(bytes.length, "(end)", 0);
  return `${lines.join("\n")}\n`;
}

function valueText(value: unknown): string {
  if (typeof value === "string") return `"${printable(value)}"`;
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (Array.isArray(value)) return value.length === 0 ? "empty" : `${value.length} elements`;
  if (typeof value === "object" && value !== null) return "{}";
  return String(value);
}
