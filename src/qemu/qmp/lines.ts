// Cuts the bytes of a QMP monitor into JSON messages, however the kernel has cut them into chunks.

import { CprkitError } from "../../vmstate/error.ts";

/** The largest message accepted, in bytes: 16 MiB. The longest usual one, query-qmp-schema's, is about 0.2 MiB. */
const maxQmpMessageBytes = 16 * 1024 * 1024;

/** The deepest message accepted. QEMU's own parser refuses more than 1024 (QEMU 10.0 qobject/json-parser.c). */
const maxQmpDepth = 1024;

/** Collects chunks; hands out whole messages. */
export interface QmpLines {
  /**
   * Takes the next bytes off the socket and calls `onMessage` with each message they complete, parsed, and its length
   * in bytes.
   *
   * @throws CprkitError ERR_QMP when a line is not a JSON object, not UTF-8, longer than the limit, or nested too deep.
   * The stream can't be trusted after that.
   */
  push(chunk: Uint8Array, onMessage: (message: Readonly<Record<string, unknown>>, bytes: number) => void): void;
  /** Bytes of a message whose end has not arrived. */
  readonly unfinishedBytes: () => number;
}

/**
 * Makes an empty collector.
 *
 * QEMU ends a message with CRLF and writes it on one line; with `-mon pretty=on` it is spread over lines, of which
 * the first is a lone "{" and the last a lone "}" without indentation (QEMU 10.0 monitor/qmp.c, qobject/json-writer.c).
 * JSON holds no bare line feed inside a string, so cutting at line feeds is exact.
 */
export function qmpLines(maxBytes: number = maxQmpMessageBytes): QmpLines {
  let parts: Uint8Array[] = [];
  let partBytes = 0;
  let pretty: Buffer[] | undefined;
  let prettyBytes = 0;

  const take = (end: Uint8Array): Buffer => {
    const line = parts.length === 0 ? Buffer.from(end) : Buffer.concat([...parts, end]);
    parts = [];
    partBytes = 0;
    return line.at(-1) === 0x0d ? line.subarray(0, -1) : line;
  };

  const messageOf = (line: Buffer): Buffer | undefined => {
    if (pretty === undefined) {
      if (line.length === 1 && line[0] === openBrace) {
        pretty = [line];
        prettyBytes = line.length;
        return undefined;
      }
      return line.length === 0 ? undefined : line;
    }
    // Empty lines count, too: an endless row of them must reach the limit.
    prettyBytes += line.length + 1;
    if (line.length === 0) return undefined;
    pretty.push(line);
    // Inside a pretty message every line but the last is indented: any other is not QEMU's.
    if (line[0] === 0x20) return undefined;
    const whole = Buffer.concat(pretty);
    pretty = undefined;
    prettyBytes = 0;
    return whole;
  };

  return {
    push(chunk, onMessage) {
      let from = 0;
      for (;;) {
        const at = chunk.indexOf(0x0a, from);
        const end = at < 0 ? chunk.length : at;
        if (prettyBytes + partBytes + (end - from) > maxBytes) {
          throw new CprkitError("ERR_QMP", `a QMP message is longer than ${maxBytes} bytes: this is not a QMP monitor`);
        }
        if (at < 0) {
          if (from < chunk.length) {
            parts.push(chunk.subarray(from));
            partBytes += chunk.length - from;
          }
          return;
        }
        const message = messageOf(take(chunk.subarray(from, at)));
        if (message !== undefined) onMessage(parse(message), message.length);
        from = at + 1;
      }
    },
    unfinishedBytes: () => prettyBytes + partBytes,
  };
}

const [quote, backslash, openBracket, closeBracket, openBrace, closeBrace] = [0x22, 0x5c, 0x5b, 0x5d, 0x7b, 0x7d];
const utf8 = new TextDecoder("utf-8", { fatal: true });

function parse(bytes: Buffer): Readonly<Record<string, unknown>> {
  // The usual reply is too short to be so deep.
  if (bytes.length > maxQmpDepth && depthOf(bytes) > maxQmpDepth) {
    throw new CprkitError("ERR_QMP", `a message nested deeper than ${maxQmpDepth}: ${excerpt(bytes)}`);
  }
  let value: unknown;
  try {
    value = JSON.parse(utf8.decode(bytes));
  } catch (cause) {
    throw new CprkitError("ERR_QMP", `expected a JSON object, found ${excerpt(bytes)}${remedy(bytes)}`, { cause });
  }
  if (!isObject(value)) {
    throw new CprkitError("ERR_QMP", `expected a JSON object, found ${excerpt(bytes)}`);
  }
  return value;
}

/** How deep objects and arrays are nested, before anything is made of them. */
function depthOf(bytes: Uint8Array): number {
  let deepest = 0;
  let depth = 0;
  let inText = false;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === quote) inText = !inText;
    else if (inText) at += byte === backslash ? 1 : 0;
    else if (byte === openBrace || byte === openBracket) deepest = Math.max(deepest, ++depth);
    else if (byte === closeBrace || byte === closeBracket) depth--;
  }
  return deepest;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function excerpt(bytes: Buffer): string {
  const text = JSON.stringify(bytes.subarray(0, 80).toString("utf8"));
  return bytes.length > 80 ? `${text}... (${bytes.length} bytes)` : text;
}

/** The usual mistake: the path of the human monitor was given. */
function remedy(bytes: Buffer): string {
  const human = /^QEMU [\d.]+ monitor/.test(bytes.subarray(0, 80).toString("latin1"));
  return human ? ": this is a human monitor (-monitor); give the path of a QMP monitor (-qmp unix:PATH,server=on)" : "";
}
