// Opens the two streams of a command that compares.

import type { UnwrapOptions } from "../../files/unwrap/peel.ts";
import { CprkitError } from "../../vmstate/error.ts";
import { type Input, openInput } from "./open.ts";

interface InputPair {
  readonly inputs: readonly [Input, Input];
  close(): void;
}

/** Opens two streams that are to be compared. `close` closes both. Throws ERR_FILE; ERR_USAGE if both are "-". */
export async function openPair(first: string, second: string, options: UnwrapOptions): Promise<InputPair> {
  if (first === "-" && second === "-") {
    throw new CprkitError(
      "ERR_USAGE",
      'standard input ("-") can be only one of the two streams: name a file for the other',
    );
  }
  const a = await openInput(first, options);
  try {
    const b = await openInput(second, options);
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
