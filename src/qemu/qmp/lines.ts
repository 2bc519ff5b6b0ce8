// Cuts the bytes of a QMP monitor into JSON messages, however the kernel has cut them into chunks.

import { CprkitError } from "../../vmstate/error.ts";

/** The largest message accepted, in bytes: 64 MiB. The longest usual one, query-qmp-schema's, is about 0.2 MiB. */
const maxQmpMessageBytes = 64 * 1024 * 1024;

/** Collects chunks; hands out whole messages. */
export interface QmpLines {
  /**
   * Takes the next bytes off the socket and calls `onMessage` with each message they complete, parsed.
   *
   * @throws CprkitError ERR_QMP when a line is no JSON object, no UTF-8, or longer than the limit. The stream can't
   * be trusted after that.
   */
  push(chunk: Uint8Array, onMessage: (message: Readonly<Record<string, unknown>>) => void): void;
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
          throw new CprkitError("ERR_QMP", `a QMP message is longer than ${maxBytes} bytes: this is no QMP monitor`);
        }
        if (at < 0) {
          if (from < chunk.length) {
            parts.push(chunk.subarray(from));
            partBytes += chunk.length - from;
          }
          return;
        }
        const message = messageOf(take(chunk.subarray(from, at)));
        if (message !== undefined) onMessage(parse(message));
        from = at + 1;
      }
    },
    unfinishedBytes: () => prettyBytes + partBytes,
  };
}

const openBrace = 0x7b;
const utf8 = new TextDecoder("utf-8", { fatal: true });

function parse(bytes: Buffer): Readonly<Record<string, unknown>> {
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
