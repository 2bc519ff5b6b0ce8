// Text as a terminal or a log may show it. A name from outside can hold anything: characters that move the cursor, that
// reorder the line (bidirectional ones), that nobody sees, that end a line.

/** Control (with C1) and format characters, parts of a surrogate pair, the two separators that end a line. */
const unsafe = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** `text` with unsafe characters made visible: \x1b, \u202e, \u{e0001}, \udc80. Backslashes are doubled. */
export function printable(text: string): string {
  return harmless(text.replaceAll("\\", "\\\\"));
}

/** The same for a message, in which names were made printable already: backslashes stay as they are. */
export function harmless(text: string): string {
  if (/^[ -~]*$/.test(text)) return text;
  return text.replace(unsafe, escaped);
}

/** The same for whole output: its line feeds and tabs stay. */
export function harmlessLines(text: string): string {
  // Nearly always. The classes of Unicode take a while to be made.
  if (/^[\t\n -~]*$/.test(text)) return text;
  return text.replace(unsafe, (char) => (char === "\n" || char === "\t" ? char : escaped(char)));
}

/** `value` as JSON on one line, in which unsafe characters are escaped: whoever parses it gets the exact value. */
export function jsonLine(value: unknown): string {
  const hex = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  // Outside of its strings JSON.stringify writes ASCII only.
  return JSON.stringify(value).replace(unsafe, (char) => char.split("").map(hex).join(""));
}

/** "12,345". Without toLocaleString: loading a locale takes 11 ms. */
export function grouped(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** "1 fd", "2 fds". */
export function counted(count: number, noun: string): string {
  return `${grouped(count)} ${noun}${count === 1 ? "" : "s"}`;
}

function escaped(char: string): string {
  const code = char.codePointAt(0) as number;
  const digits = code.toString(16);
  if (code < 0x100) return `\\x${digits.padStart(2, "0")}`;
  return code < 0x10000 ? `\\u${digits.padStart(4, "0")}` : `\\u{${digits}}`;
}
