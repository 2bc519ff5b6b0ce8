// The command line of a running QEMU, its words ended by zero bytes as in /proc/PID/cmdline.

import { isDeepStrictEqual } from "node:util";
import { deriveCommandLine } from "../../src/qemu/command-line/derive.ts";
import { qmpSocketPaths } from "../../src/qemu/command-line/monitors.ts";
import { formatKeyValues, formatOptions, parseKeyValues, parseOptions } from "../../src/qemu/command-line/parse.ts";
import type { Target } from "../target.ts";

export const fuzz: Target = (input) => {
  const words = Buffer.from(input).toString("utf8").split("\0");
  // QEMU refuses such an option, so no running one has it; written again, it would lose a dash.
  if (words.some((word) => word === "--" || word.startsWith("---"))) return;
  const options = parseOptions(words);
  same(parseOptions(formatOptions(options)), options, "options");
  for (const word of words) same(parseKeyValues(formatKeyValues(parseKeyValues(word))), parseKeyValues(word), word);
  for (const path of qmpSocketPaths(options, "/vm")) {
    if (!path.startsWith("/")) throw new Error(`the monitor's path is not absolute: ${path}`);
  }
  for (const sideBySide of [true, false]) {
    const { args, moved, findings } = deriveCommandLine(options, { cwd: "/vm", sideBySide, exists: () => false });
    if (args.some((word) => typeof word !== "string")) throw new Error(`a word that is not text: ${args}`);
    for (const { message, remedy } of findings) if (message === "" || remedy === "") throw new Error("no words");
    for (const { old, new: next } of moved) if (old === next) throw new Error(`both QEMUs would make ${old}`);
  }
};

function same(found: unknown, expected: unknown, what: string): void {
  if (isDeepStrictEqual(found, expected)) return;
  throw new Error(`${what}: ${JSON.stringify(found)} after writing, ${JSON.stringify(expected)} before`);
}
