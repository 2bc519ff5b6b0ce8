// How much a monitor may say unasked: QEMU's events are small and few, a process that only looks like one may flood.

import { CprkitError } from "../../vmstate/error.ts";

/** One event at most, in bytes. QEMU's are below 1 KiB, but for a few that list devices. */
const maxEventBytes = 1024 * 1024;
/** What may come at once, in bytes. */
const burstBytes = 128 * 1024 * 1024;
/** What may come all the time, in bytes per second: 20,000 I/O errors per second are 8 MiB. */
const bytesPerSecond = 8 * 1024 * 1024;

/**
 * @param now the time in ms, rising
 * @returns takes the bytes of one event; throws ERR_QMP when it is too large or all together are too many
 */
export function eventBudget(now: () => number = () => performance.now()): (bytes: number) => void {
  let left = burstBytes;
  let at = now();
  return (bytes) => {
    if (bytes > maxEventBytes) {
      throw new CprkitError(
        "ERR_QMP",
        `an event of ${bytes} bytes, above the limit of ${maxEventBytes}: this is not a QEMU`,
      );
    }
    const time = now();
    left = Math.min(burstBytes, left + ((time - at) / 1000) * bytesPerSecond) - bytes;
    at = time;
    if (left >= 0) return;
    throw new CprkitError(
      "ERR_QMP",
      `too many events, more than ${burstBytes} bytes beyond ${bytesPerSecond} bytes per second: this is not a QEMU`,
    );
  };
}
