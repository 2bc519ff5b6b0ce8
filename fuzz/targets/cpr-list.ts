// A CPR state in the list ABI, what QEMU 10.0 to 11.1 send.

import { judge } from "../cpr-state.ts";
import type { Target } from "../target.ts";

export const fuzz: Target = (input) => {
  judge(input, undefined, "list");
};
