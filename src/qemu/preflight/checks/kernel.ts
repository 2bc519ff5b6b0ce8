// What an update needs of the kernel, whichever machine it is about.

import { blocker, type Finding } from "../../finding.ts";
import type { Facts } from "../facts.ts";

/** A call that is missing would only show when the old QEMU is to be ended: the guest is in the new one by then. */
export function checkKernel({ own: { refusedCalls } }: Facts): Finding[] {
  if (refusedCalls.length === 0) return [];
  const message = `cprkit needs system calls that the kernel refuses here: ${refusedCalls.join("; ")}`;
  const remedy =
    "use Linux 5.3 or later, and allow them in the seccomp filter of the unit or container that cprkit runs in; " +
    "without pidfds alone it can do: --allow kernel";
  return [blocker("kernel", message, remedy)];
}
