// What is right for a CPR state, whatever its bytes: the judge of both ABIs' targets.

import { type CprAbi, type LoadedCpr, loadCprState, saveCprState } from "../src/cpr/index.ts";
import { isCprkitError, type PassedFd } from "../src/vmstate/index.ts";
import { hasPlace, sameBytes } from "./target.ts";

/** What became of a case: refused with a code, or read, exactly or with repeated keys left out. */
export type Verdict = "refused" | "read" | "read without repeated keys";

/**
 * Reads `bytes` and throws a plain Error if the reader did anything else than refuse them with one clear error, or read
 * what is right for them: saving gives the same bytes, or, where keys were repeated, those without the repetitions.
 */
export function judge(bytes: Uint8Array, fds: readonly PassedFd[] | undefined, wanted?: CprAbi): Verdict {
  let loaded: LoadedCpr;
  try {
    loaded = loadCprState({ bytes, fds });
  } catch (error) {
    if (!isCprkitError(error)) throw new Error(`a foreign error: ${String(error)}`, { cause: error });
    hasPlace(error, bytes.length);
    return "refused";
  }
  const { state, abi, fdForm, dropped, warnings } = loaded;
  if (wanted !== undefined && abi !== wanted) return "read";
  const output = saveCprState(state, { abi, fdForm });
  if (dropped.length !== warnings.length) throw new Error("dropped entries without a warning each");
  if (dropped.length === 0) {
    sameBytes(output.bytes, bytes, "read, but saved to other bytes");
    return "read";
  }
  const again = loadCprState({ bytes: output.bytes });
  if (again.dropped.length > 0 || again.state.size !== state.size) throw new Error("repeated keys were saved");
  sameBytes(saveCprState(again.state, { abi, fdForm }).bytes, output.bytes, "saved in another order");
  return "read without repeated keys";
}
