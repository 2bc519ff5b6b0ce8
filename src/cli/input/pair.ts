// The two streams of a command that compares.

import type { UnwrapOptions } from "../../files/unwrap/peel.ts";
import { CprkitError } from "../../vmstate/error.ts";
import { type Input, openInput } from "./open.ts";

/** Opens two streams that are to be compared, for as long as `act` takes. @throws CprkitError ERR_FILE; ERR_USAGE if both are "-" */
export async function withPair<T>(
  first: string,
  second: string,
  options: UnwrapOptions,
  act: (inputs: readonly [Input, Input]) => Promise<T>,
): Promise<T> {
  if (first === "-" && second === "-") {
    throw new CprkitError(
      "ERR_USAGE",
      'standard input ("-") can be only one of the two streams: name a file for the other',
    );
  }
  const a = await openInput(first, options);
  try {
    const b = await openInput(second, options);
    try {
      return await act([a, b]);
    } finally {
      b.close();
    }
  } finally {
    a.close();
  }
}
