// Opens the two streams of a command that compares.

import { type OpenSource, openSource } from "../../files/index.ts";
import { CprkitError } from "../../vmstate/error.ts";

interface SourcePair {
  readonly inputs: readonly [OpenSource, OpenSource];
  close(): void;
}

/** Opens two streams that are to be compared. `close` closes both. Throws ERR_FILE; ERR_USAGE if both are "-". */
export function openSources(first: string, second: string, offset?: number): SourcePair {
  if (first === "-" && second === "-") {
    throw new CprkitError(
      "ERR_USAGE",
      'standard input ("-") can be only one of the two streams: name a file for the other',
    );
  }
  const a = openSource(first, { offset });
  try {
    const b = openSource(second, { offset });
    const close = () => {
      a.close();
      b.close();
    };
    return { inputs: [a, b], close };
  } catch (error) {
    a.close();
    throw error;
  }
}

/** Whether a stream begins with this magic. */
export function startsWith(start: Uint8Array, magic: string): boolean {
  return Buffer.from(start.subarray(0, magic.length)).toString("latin1") === magic;
}
