// Takes off what is around a stream in a file or a pipe, for Node.

import type { OpenSource } from "../open.ts";
import { inputName } from "../read.ts";
import { peel, type UnwrapOptions, type Unwrapped } from "./peel.ts";

/**
 * Looks at what `input` begins with, and takes off what is around the stream. What is no stream is given as it is: see
 * `start`. Throws what the parts throw for a damaged header (ERR_BAD_STREAM, ERR_EOF, ERR_LIMIT); ERR_USAGE for a snapshot
 * that is not there; ERR_BAD_MAGIC for what is known, and can't be read.
 */
export async function unwrap(input: OpenSource, options: UnwrapOptions = {}): Promise<Unwrapped> {
  const name = inputName(input.path);
  const from =
    input.kind === "file"
      ? ({ kind: "file", source: input.source, name } as const)
      : ({ kind: "pipe", source: input.source, name } as const);
  return await peel(from, options, async (compression, stage) => {
    // Loaded when it is needed: it costs a plain stream more than its own opening.
    const { decompress } = await import("./decompress.ts");
    return decompress(compression, stage);
  });
}
