// The line that shows the guest while it counts.

import { grouped } from "../../vmstate/shown/text.ts";
import type { Count } from "./counting-vm.ts";
import { sparkline } from "./sparkline.ts";

/** Times shown. */
const shown = 48;

/** What is being done, the guest's counter, and the times between its last numbers; the last one is still going on. */
export function liveLines(doing: string, counts: readonly Count[]): string[] {
  const last = counts.slice(-shown);
  const now = performance.timeOrigin + performance.now();
  const times = last.map(({ at }, index) => (last[index + 1]?.at ?? now) - at);
  return [doing, `  counter ${grouped(last.at(-1)?.value ?? 0).padStart(7)}  ${sparkline(times)}`];
}
