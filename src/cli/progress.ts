// Progress on standard error: a spinner on a terminal, nothing elsewhere, so that logs stay short.

import type { Ora } from "ora";
import { harmless } from "../vmstate/shown/text.ts";
import { isTerminal, print } from "./output.ts";

export interface Progress {
  /** Says what is being done now. */
  step(text: string): void;
  /** The same in several lines. */
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
  const lines = (texts: readonly string[]) => {
    shown = texts.map(harmless).join("\n");
    if (spinner === undefined) return;
    spinner.text = shown;
    spinner.render();
  };
  return {
    step: (now) => lines([now]),
    lines,
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

/**
 * Whether a line can be drawn again. A terminal without a size (a serial console, `script` in a job) has 0 columns: ora
 * would count a line as infinitely many, and clear them all while an update waits.
 */
function isScreen({ columns }: NodeJS.WriteStream): boolean {
  return columns > 0;
}
