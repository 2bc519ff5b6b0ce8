// The one place from which the command line writes to standard output and standard error. Whatever came from outside and
// was not made printable on the way (names, QEMU's words, the system's) is made harmless here.
//
// Most commands write to the fd itself: what Node loads for process.stdout (streams, sockets) takes as long as a short
// command. That blocks while the reader does not read, so a command on which a VM depends must not do it.

import { fstatSync, writeSync } from "node:fs";
import { harmless, harmlessLines, jsonLine } from "../vmstate/shown/text.ts";
import { exitCodes } from "./exit-codes.ts";

const stdout = 1;
const stderr = 2;
let mustGoOn = false;

/**
 * `cprkit ... | head` is not an error; a full disk is one, exit code 4. Both end the command. A terminal that is gone shows
 * no messages any more, but ends nothing. After this call neither does a closed output, and no reader holds the command up.
 */
export function goOnWithoutReader(): void {
  mustGoOn = true;
  process.stderr.on("error", () => {});
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") return;
    printError(`cannot write standard output: ${error.message}`);
    process.prependListener("exit", () => {
      process.exitCode = exitCodes.refused;
    });
  });
}

/** Whether a person may be looking. Node's own answer means loading streams, so it is asked of devices only. */
export function isTerminal(stream: "stdout" | "stderr"): boolean {
  try {
    const stat = fstatSync(stream === "stdout" ? stdout : stderr);
    return stat.isCharacterDevice() && stat.rdev >> 8 !== memoryDevices && process[stream].isTTY === true;
  } catch {
    return false;
  }
}

/** Major number of /dev/null and its like (Linux Documentation/admin-guide/devices.txt). */
const memoryDevices = 1;

/** How wide lines may be: COLUMNS, or the terminal's width; undefined where nobody looks, and nothing is to be cut. */
export function screenColumns(): number | undefined {
  if (!isTerminal("stdout")) return undefined;
  const asked = Number(process.env["COLUMNS"]);
  return Number.isInteger(asked) && asked > 0 ? asked : process.stdout.columns || undefined;
}

/** Writes lines for people to standard output. */
export function print(text: string): void {
  write(stdout, shown(text));
}

/** Writes `value` as one line of JSON to standard output. */
export function printJson(value: unknown): void {
  write(stdout, `${jsonLine(value)}\n`);
}

/** Writes one line to standard error, "cprkit: " before it. */
export function printError(text: string): void {
  write(stderr, `cprkit: ${harmless(text)}\n`);
}

/** The same, for what does not end the work. */
export function printWarning(text: string): void {
  printError(`warning: ${text}`);
}

/** Writes an error as one line of JSON to standard error. */
export function printErrorJson(error: unknown): void {
  write(stderr, `${jsonLine({ error })}\n`);
}

/** Writes where an error that nobody expected happened: Node would print its message as it is. */
export function printBug(error: unknown): void {
  const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
  write(stderr, `cprkit: this is a bug in cprkit: ${harmlessLines(stack)}\n`);
}

/** Stands for the escape character of our own colours and links: nobody outside can know it. Without a space: one word. */
export const ownEscape = `escape-${Math.random()}`;

function shown(text: string): string {
  return harmlessLines(text).replaceAll(ownEscape, "\x1b");
}

function write(fd: typeof stdout | typeof stderr, text: string): void {
  if (mustGoOn) {
    process[fd === stdout ? "stdout" : "stderr"].write(text);
    return;
  }
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(fd, bytes, at);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      // A pipe or terminal that somebody made non-blocking, and which is full.
      if (code === "EAGAIN") Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
      else {
        if (fd === stderr) return;
        if (code !== "EPIPE") printError(`cannot write standard output: ${message}`);
        process.exit(code === "EPIPE" ? exitCodes.fine : exitCodes.refused);
      }
    }
  }
}
