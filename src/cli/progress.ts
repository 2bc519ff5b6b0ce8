// Progress on standard error: a spinner on a terminal, nothing elsewhere, so that logs stay short.

import type { Ora } from "ora";
import { harmless } from "../vmstate/shown/text.ts";
import { isTerminal, print } from "./output.ts";
import { cutTo } from "./view/width.ts";

export interface Progress {
  /** Says what is being done now. */
  step(text: string): void;
  /** The same in several lines, cut to what the terminal has room for. */
  lines(texts: readonly string[]): void;
  /** Prints lines to standard output that stay, above the progress. */
  above(text: string): void;
  /** Ends it and removes the line. */
  stop(): void;
}

/** Starts to show progress. `quiet`: nothing is shown, for --json. */
export function startProgress(text: string, quiet: boolean): Progress {
  let shown = harmless(text);
  let spinner: Ora | undefined;
  let stopped = quiet || !isTerminal("stderr") || !isScreen(process.stderr);
  // Loaded only where it is seen, and while the work has begun.
  if (!stopped) {
    // A terminal that is gone shows nothing any more, and ends nothing.
    process.stderr.on("error", () => {});
    void import("ora").then(({ default: ora }) => {
      // ora does not know of no-color.org.
      const color = (process.env["NO_COLOR"] ?? "") === "" ? "cyan" : false;
      if (!stopped) spinner = ora({ text: shown, discardStdin: false, color }).start();
    });
  }
  const show = (text: string) => {
    shown = text;
    if (spinner === undefined) return;
    spinner.text = shown;
    spinner.render();
  };
  return {
    step: (now) => show(harmless(now)),
    lines: (texts) => show(fitted(texts.map(harmless), process.stderr).join("\n")),
    above: (text) => {
      spinner?.clear();
      print(text);
      spinner?.render();
    },
    stop: () => {
      stopped = true;
      spinner?.stop();
    },
  };
}

/** So many and so long that all can be drawn over: what has scrolled off a terminal stays, and would be there again and again. */
function fitted(texts: readonly string[], { columns, rows }: NodeJS.WriteStream): string[] {
  const room = Math.max(rows - 1, 2);
  const left = texts.length - room + 1;
  const shown = left <= 1 ? texts : [...texts.slice(0, room - 1), `  and ${left} more`];
  // The first has the spinner before it.
  return shown.map((text, at) => cutTo(text, columns - (at === 0 ? 3 : 1)));
}

/**
 * Whether a line can be drawn again. A terminal without a size (a serial console, `script` in a job) has 0 columns: ora
 * would count a line as infinitely many, and clear them all while an update waits.
 */
function isScreen({ columns }: NodeJS.WriteStream): boolean {
  return columns > 0;
}
