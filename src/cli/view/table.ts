// Tables for people: plain columns, no frame, so that a line can be copied and cut.

import { screenColumns } from "../output.ts";
import { brokenLines } from "./fit.ts";
import { cutTo, widthOf } from "./width.ts";

/** Between two columns. */
const gap = "  ";

/**
 * Rows under a header. Columns named in `right` are right-aligned. Takes time in proportion to the rows.
 *
 * Too wide for the screen, the last column goes on below where it is text, and the widest of the others are cut.
 *
 * @param columns how wide it may be; undefined: nothing is cut
 */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  right: readonly string[] = [],
  columns = screenColumns(),
): string {
  const toRight = head.map((name) => right.includes(name));
  const widths = head.map(widthOf);
  for (const row of rows) {
    for (let at = 0; at < widths.length; at++) widths[at] = Math.max(widths[at] ?? 0, widthOf(row[at] ?? ""));
  }
  const last = widths.length - 1;
  const goesOn = toRight[last] !== true;
  if (columns !== undefined) narrow(widths, columns - last * gap.length, goesOn ? last : undefined);
  const line = (cells: readonly string[]): string =>
    widths
      .map((width, at) => {
        const cell = cutTo(cells[at] ?? "", width);
        const room = " ".repeat(width - widthOf(cell));
        return toRight[at] === true ? room + cell : cell + room;
      })
      .join(gap)
      .trimEnd();
  const width = widths[last] ?? 0;
  const lines = (cells: readonly string[]): string[] => {
    const text = cells[last] ?? "";
    if (!goesOn || widthOf(text) <= width) return [line(cells)];
    const before = cells.slice(0, last);
    return brokenLines(text, width).map((part, at) => line([...(at === 0 ? before : before.map(() => "")), part]));
  };
  return `${[head, ...rows].flatMap(lines).join("\n")}\n`;
}

/** Text of the last column is not made narrower than this while something else can be. */
const leastOfText = 20;
/** No column is made narrower than the first of these while another is wider, nor ever than the last one. */
const least = [8, 4];

/** Takes from `widths` until their sum is `room`: from the text of column `text` first, then from whichever is widest. */
function narrow(widths: number[], room: number, text: number | undefined): void {
  let over = widths.reduce((sum, width) => sum + width, -room);
  const take = (at: number, to: number) => {
    const taken = Math.max(0, Math.min(over, (widths[at] ?? 0) - to));
    widths[at] = (widths[at] ?? 0) - taken;
    over -= taken;
  };
  if (text !== undefined) take(text, leastOfText);
  for (const to of least) {
    while (over > 0 && Math.max(...widths) > to) {
      const widest = widths.indexOf(Math.max(...widths));
      take(widest, (widths[widest] ?? 0) - 1);
    }
  }
}
