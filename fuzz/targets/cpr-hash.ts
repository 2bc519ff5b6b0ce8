// A CPR state in the hash ABI of the RFC.

import { judge } from "../cpr-state.ts";
import type { Target } from "../target.ts";

export const fuzz: Target = (input) => {
  judge(input, undefined, "hash");
};
