// What can stand where a placeholder does, so that a shell can offer it. One name means one kind everywhere.

import { findingCodes } from "../../qemu/finding.ts";
import { updateModes } from "../../qemu/vm/binary.ts";
import { outputs } from "../schema/all.ts";

/** What a shell offers: names of files, of folders, programs, process ids of QEMUs, these words, or nothing. */
export type ValueKind = "file" | "folder" | "program" | "pid" | "nothing" | { readonly words: readonly string[] };

/** By the placeholder's name. */
const kinds: Readonly<Record<string, ValueKind>> = {
  path: "file",
  file: "file",
  a: "file",
  b: "file",
  source: "file",
  destination: "file",
  stream: "file",
  streams: "file",
  qmp: "file",
  folder: "folder",
  program: "program",
  pid: "pid",
  mode: { words: updateModes },
  code: { words: Object.keys(findingCodes) },
  shell: { words: ["bash", "zsh", "fish"] },
  // What is the user's own: numbers, patterns, names of what is in a file, whole command lines.
  version: "nothing",
  glob: "nothing",
  bytes: "nothing",
  n: "nothing",
  ms: "nothing",
  MiB: "nothing",
  seconds: "nothing",
  port: "nothing",
  host: "nothing",
  name: "nothing",
  command: "nothing",
};

/** @throws {Error} for a placeholder that nobody has said the kind of: a test meets it first */
export function kindOf(command: string, name: string, choices: readonly string[] | undefined): ValueKind {
  if (choices !== undefined) return { words: choices };
  if (command === "schema" && name === "name") return { words: Object.keys(outputs) };
  const kind = Object.hasOwn(kinds, name) ? kinds[name] : undefined;
  if (kind === undefined) throw new Error(`${command}: what <${name}> may be is not said in values.ts`);
  return kind;
}
