// Large states that come are loaded by code made of their descriptions. What makes it is loaded when the first comes.

import { compiledFromBytes } from "../cpr/limits.ts";

/** To be called before a state of so many bytes is loaded. */
export async function prepareForState(bytes: number): Promise<void> {
  if (bytes < compiledFromBytes) return;
  const { useCompiled } = await import("../vmstate/compile/index.ts");
  useCompiled();
}
