// Where the program is in a command line: the dynamic loader may run it.

import { basename } from "node:path";

interface Running {
  readonly argv: readonly string[];
  /** What /proc says that runs. */
  readonly program: string;
}

/** The words of a running QEMU's command line up to and with its program: several when a dynamic loader runs it. */
export function programWords({ argv, program }: Running): readonly [string, ...string[]] {
  const [first = program, ...rest] = argv;
  if (!isLoader(program)) return [first];
  let end = 0;
  while ((rest[end] ?? "").startsWith("--")) end += loaderOptionsWithValue.has(rest[end] ?? "") ? 2 : 1;
  return [first, ...rest.slice(0, end + 1)];
}

/** Whether a program is the dynamic loader, which runs another. */
export function isLoader(program: string): boolean {
  return /^ld(-linux[\w.-]*|-musl[\w.-]*|64)?\.so/.test(basename(program));
}

/** ld.so(8). */
const loaderOptionsWithValue = new Set(["--library-path", "--preload", "--argv0", "--audit", "--inhibit-rpath"]);
