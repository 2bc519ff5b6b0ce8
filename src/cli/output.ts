// The one place from which the command line writes to standard output and standard error. Whatever came from outside and
// was not made printable on the way (names, QEMU's words, the system's) is made harmless here.

import { harmless, harmlessLines, jsonLine } from "./view/text.ts";

/** Writes lines for people to standard output. */
export function print(text: string): void {
  process.stdout.write(shown(text));
}

/** Writes `value` as one line of JSON to standard output. */
export function printJson(value: unknown): void {
  process.stdout.write(`${jsonLine(value)}\n`);
}

/** Writes one line to standard error, "cprkit: " before it. */
export function printError(text: string): void {
  process.stderr.write(`cprkit: ${harmless(text)}\n`);
}

/** The same, for what does not end the work. */
export function printWarning(text: string): void {
  printError(`warning: ${text}`);
}

/** Writes an error as one line of JSON to standard error. */
export function printErrorJson(error: unknown): void {
  process.stderr.write(`${jsonLine({ error })}\n`);
}

/** Writes where an error that nobody expected happened: Node would print its message as it is. */
export function printBug(error: unknown): void {
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.stderr.write(`cprkit: this is a bug in cprkit: ${harmlessLines(stack)}\n`);
}

/** Stands for the escape character of our own colours (colours.ts): nobody outside can know it. */
export const ownEscape = `escape ${Math.random()}`;

function shown(text: string): string {
  return harmlessLines(text).replaceAll(ownEscape, "\x1b");
}
