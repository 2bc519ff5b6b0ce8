// Reads and writes JSON as QEMU's description needs it: lists repeat their keys in one object, once for each element,
// so members are kept in order, repeated ones too. Every value knows its offset, for error messages.

import { CprkitError } from "../error.ts";

export interface JsonObject {
  readonly kind: "object";
  readonly offset: number;
  readonly members: readonly JsonMember[];
}

interface JsonMember {
  readonly key: string;
  readonly value: JsonNode;
}

export interface JsonArray {
  readonly kind: "array";
  readonly offset: number;
  readonly items: readonly JsonNode[];
}

/** A string, a number, true, false or null. */
interface JsonScalar {
  readonly kind: "scalar";
  readonly offset: number;
  readonly value: string | number | boolean | null;
}

export type JsonNode = JsonObject | JsonArray | JsonScalar;

/** A structure takes four levels of JSON at most. */
const maxJsonDepth = 512;

/**
 * Parses one JSON value. Offsets are those of `text` (bytes, as QEMU writes ASCII only). Throws ERR_BAD_STREAM at the
 * character that is wrong, ERR_DEPTH for nesting beyond 512.
 */
export function parseJson(text: string): JsonNode {
  let at = 0;
  const value = parseValue(0);
  skipSpace();
  if (at < text.length) throw wrong("the end of the JSON");
  return value;

  function parseValue(depth: number): JsonNode {
    skipSpace();
    const offset = at;
    const char = text[at];
    if (char === "{" || char === "[") {
      if (depth === maxJsonDepth)
        throw new CprkitError("ERR_DEPTH", `the JSON nests deeper than ${maxJsonDepth}`, { offset });
      return char === "{" ? parseObject(depth + 1) : parseArray(depth + 1);
    }
    if (char === '"') return { kind: "scalar", offset, value: parseString() };
    return { kind: "scalar", offset, value: parseWord() };
  }

  function parseObject(depth: number): JsonObject {
    const offset = at++;
    const members: JsonMember[] = [];
    for (let first = true; !closes("}"); first = false) {
      if (!first) expect(",");
      skipSpace();
      if (text[at] !== '"') throw wrong('a key in "quotes"');
      const key = parseString();
      expect(":");
      members.push({ key, value: parseValue(depth) });
    }
    return { kind: "object", offset, members };
  }

  function parseArray(depth: number): JsonArray {
    const offset = at++;
    const items: JsonNode[] = [];
    for (let first = true; !closes("]"); first = false) {
      if (!first) expect(",");
      items.push(parseValue(depth));
    }
    return { kind: "array", offset, items };
  }

  function parseString(): string {
    const start = at++;
    // Nearly every text; the search is the engine's own, which is quick before this code is warm.
    const end = text.indexOf('"', at);
    const plain = text.slice(at, end);
    if (end >= 0 && !special.test(plain)) {
      at = end + 1;
      return plain;
    }
    let escaped = false;
    for (;;) {
      const unit = text.charCodeAt(at);
      if (Number.isNaN(unit)) {
        at = start;
        throw wrong("a text that ends");
      }
      if (unit < 0x20) throw wrong("no control character in a text");
      at++;
      if (unit === 0x22) break;
      if (unit === 0x5c) {
        escaped = true;
        at++;
      }
    }
    if (!escaped) return text.slice(start + 1, at - 1);
    try {
      return JSON.parse(text.slice(start, at)) as string;
    } catch {
      at = start;
      throw wrong("a text with known escapes");
    }
  }

  function parseWord(): number | boolean | null {
    const start = at;
    while (/[-+.\w]/.test(text[at] ?? "")) at++;
    const word = text.slice(start, at);
    if (word === "true") return true;
    if (word === "false") return false;
    if (word === "null") return null;
    if (/^-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?$/.test(word)) return Number(word);
    at = start;
    throw wrong("a JSON value");
  }

  function closes(bracket: string): boolean {
    skipSpace();
    if (text[at] !== bracket) return false;
    at++;
    return true;
  }

  function expect(char: string): void {
    skipSpace();
    if (text[at] !== char) throw wrong(`"${char}"`);
    at++;
  }

  function skipSpace(): void {
    for (;;) {
      const unit = text.charCodeAt(at);
      if (unit !== 0x20 && unit !== 0x0a && unit !== 0x0d && unit !== 0x09) return;
      at++;
    }
  }

  function wrong(expected: string): CprkitError {
    const found = at < text.length ? JSON.stringify(text[at]) : "the end";
    return new CprkitError("ERR_BAD_STREAM", `the JSON description: expected ${expected}, found ${found}`, {
      offset: at,
    });
  }
}

/** What needs a look of its own in a text. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const special = /[\\\u0000-\u001f]/;

/** `text` as QEMU's writer quotes it: ASCII only. */
export function quote(text: string): string {
  return JSON.stringify(text).replace(
    /[\u007f-\uffff]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}`,
  );
}
