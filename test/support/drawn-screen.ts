// What is on a terminal's screen after what a program has written to it: the few control sequences that ours write.

const esc = "\u001b";

/** A screen; lines that leave it at the top are kept, as a terminal keeps them. */
export interface Screen {
  write(text: string): void;
  /** All lines from the first one written on, without what is blank at their ends. */
  lines(): string[];
  /** Whether the cursor is shown. */
  hasCursor(): boolean;
}

/**
 * A screen of this size. Knows CR, LF, cursor up, column, erase in line and in display, colours, and the cursor's showing.
 *
 * @param onFrame called when what belongs together has been written ("synchronized output", mode 2026)
 */
export function makeScreen(columns: number, rows: number, onFrame: (lines: string[]) => void): Screen {
  const lines: string[] = [""];
  let [row, column, isShown, rest] = [0, 0, true, ""];
  const put = (text: string) => {
    for (const letter of text) {
      const isEnd = letter === "\r" || letter === "\n";
      if (letter === "\n" || (!isEnd && column === columns)) row++;
      if (letter === "\r" || (!isEnd && column === columns)) column = 0;
      while (lines.length <= row) lines.push("");
      if (isEnd) continue;
      const line = (lines[row] ?? "").padEnd(column);
      lines[row] = line.slice(0, column) + letter + line.slice(column + 1);
      column++;
    }
  };
  const control = (sequence: string) => {
    const [, numbers = "", letter = ""] = /^\[([\d;?]*)(.)$/s.exec(sequence) ?? [];
    const number = Number(numbers || (letter === "A" || letter === "G" ? 1 : 0));
    // What has scrolled off the screen can't be reached any more.
    if (letter === "A") row = Math.max(row - number, lines.length - rows, 0);
    else if (letter === "G") column = number - 1;
    else if (letter === "K" && number === 0) lines[row] = (lines[row] ?? "").slice(0, column);
    else if (letter === "K" && number === 2) lines[row] = "";
    else if (letter === "J" && number === 0) lines.splice(row + 1);
    else if (numbers === "?25") isShown = letter === "h";
    else if (numbers === "?2026") letter === "l" && onFrame(shown());
    else if (letter !== "m") throw new Error(`unknown sequence ${JSON.stringify(sequence)}`);
  };
  const shown = () => lines.map((line) => line.trimEnd());
  return {
    write: (text) => {
      const [first = "", ...others] = (rest + text).split(esc);
      rest = "";
      put(first);
      for (const [at, part] of others.entries()) {
        const sequence = /^\[[\d;?]*[^\d;?]/.exec(part)?.[0];
        if (sequence !== undefined) {
          control(sequence);
          put(part.slice(sequence.length));
        } else if (at === others.length - 1) {
          // Cut in two: it waits for its end.
          rest = esc + part;
        } else throw new Error(`unknown sequence ${JSON.stringify(part)}`);
      }
    },
    lines: shown,
    hasCursor: () => isShown,
  };
}
