// Differences that two saves of one machine have anyhow.

import type { Difference } from "../../migration/index.ts";

/** What `diff --ignore` takes. */
export const ignorable = ["time"] as const;

/** True for what passes with time: clocks and counters of ticks, when a timer fires next, the hour in the RTC. */
export function isOfTime({ section, path }: Difference): boolean {
  if (section === "timer" || section === "kvmclock") return true;
  if (section === "mc146818rtc" && rtcTime.test(path)) return true;
  return ofTime.test(path);
}

/** Seconds, minutes, hours, day of the week, day, month, year, century. A run of changed bytes begins with one of them. */
const rtcTime = /^cmos_data\[(?:[024]|[6-9]|50)(?:\.\.\d+)?\]$/;

const ofTime = /time(?!out)|clock|ticks|(?:^|[._/])tsc(?:$|[._/[])|expir|deadline|(?:^|[._/])tmr(?:$|[._/])/i;
