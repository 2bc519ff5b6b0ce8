// `cprkit status --watch`: the status again and again, in place on a terminal, until Ctrl-C.

import { setTimeout as delay } from "node:timers/promises";
import { isTerminal, ownEscape, print, printJson } from "../output.ts";
import { cutTo } from "../view/width.ts";

/** One look. */
export interface Look {
  readonly lines: readonly string[];
  /** A line of JSON. */
  readonly json: unknown;
}

/**
 * Looks, shows what it saw, and waits for so long until the next look; it never looks twice at the same time. On a terminal
 * the lines are drawn over the last ones, in one write, and only if they differ; elsewhere, and as JSON, what is new is
 * printed below.
 *
 * @returns once the signal fires
 */
export async function watch(
  look: () => Promise<Look>,
  { everyMs, json, signal }: { readonly everyMs: number; readonly json: boolean; readonly signal: AbortSignal },
): Promise<void> {
  // Nothing can be drawn over on a terminal without a size, such as a serial console.
  const screen = !json && isTerminal("stdout") && process.stdout.columns > 0 ? makeScreen() : undefined;
  let last: string | undefined;
  const ended = new Promise<undefined>((resolve) => {
    signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });
  try {
    while (!signal.aborted) {
      // A QEMU that does not answer does not hold Ctrl-C up.
      const seen = await Promise.race([look(), ended]);
      if (seen === undefined) return;
      const text = json ? JSON.stringify(seen.json) : seen.lines.join("\n");
      if (screen !== undefined) screen.draw(seen.lines);
      else if (text !== last && json) printJson(seen.json);
      else if (text !== last) print(`${text}\n`);
      last = text;
      await delay(everyMs, undefined, { signal }).catch(() => {});
    }
  } finally {
    screen?.leave();
  }
}

/** Lines on a terminal that are drawn over. What is above stays, and so does what was drawn last. */
function makeScreen(): { draw(lines: readonly string[]): void; leave(): void } {
  let drawn = 0;
  let last = "";
  const control = (codes: string) => `${ownEscape}[${codes}`;
  return {
    draw(lines) {
      const { columns = 80, rows = 24 } = process.stdout;
      // A line that is wrapped, or more lines than there are, would be drawn at the wrong place.
      const most = Math.max(1, rows - 1);
      const fitting = lines.length <= most ? lines : [...lines.slice(0, most - 1), `… ${lines.length - most + 1} more`];
      const text = fitting.map((line) => `${cutTo(line, columns - 1)}${control("K")}\n`).join("");
      const size = `${columns} ${rows} `;
      if (size + text === last) return;
      last = size + text;
      const up = drawn === 0 ? control("?25l") : control(`${drawn}A`);
      print(`${up}${text}${control("J")}`);
      drawn = fitting.length;
    },
    leave: () => print(control("?25h")),
  };
}
