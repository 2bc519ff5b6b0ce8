// Tables for people: plain columns, no frame, so that a line can be copied and cut.

import { cutTo, widthOf } from "./width.ts";

/** Between two columns. */
const gap = "  ";

/**
 * Rows under a header. Columns named in `right` are right-aligned. Takes time in proportion to the rows.
 *
 * @param columns how wide it may be: cells of the widest columns are cut, but none to less than 8
 */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  right: readonly string[] = [],
  columns = Number.POSITIVE_INFINITY,
): string {
  const widths = head.map(widthOf);
  for (const row of rows) {
    for (let at = 0; at < widths.length; at++) widths[at] = Math.max(widths[at] ?? 0, widthOf(row[at] ?? ""));
  }
  const narrowest = 8;
  let over = widths.reduce((sum, width) => sum + width, (widths.length - 1) * gap.length) - columns;
  while (over > 0) {
    const widest = widths.indexOf(Math.max(...widths));
    if ((widths[widest] ?? 0) <= narrowest) break;
    widths[widest] = (widths[widest] ?? 0) - 1;
    over--;
  }
  const toRight = head.map((name) => right.includes(name));
  const line = (cells: readonly string[]): string =>
    widths
      .map((width, at) => {
        const cell = cutTo(cells[at] ?? "", width);
        const room = " ".repeat(width - widthOf(cell));
        return toRight[at] === true ? room + cell : cell + room;
      })
      .join(gap)
      .trimEnd();
  return `${[head, ...rows].map(line).join("\n")}\n`;
}
