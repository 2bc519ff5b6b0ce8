// Tables for people: plain columns, no frame, so that a line can be copied and cut.

import Table from "cli-table3";

/** Rows under a header. Columns named in `right` are right-aligned. */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  right: readonly string[] = [],
): string {
  const lines = new Table({
    head: [...head],
    chars: {
      top: "",
      "top-mid": "",
      "top-left": "",
      "top-right": "",
      bottom: "",
      "bottom-mid": "",
      "bottom-left": "",
      "bottom-right": "",
      left: "",
      "left-mid": "",
      mid: "",
      "mid-mid": "",
      right: "",
      "right-mid": "",
      middle: "  ",
    },
    style: { "padding-left": 0, "padding-right": 0, head: [], border: [] },
    colAligns: head.map((name) => (right.includes(name) ? "right" : "left")),
  });
  lines.push(...rows.map((row) => [...row]));
  return `${lines.toString().replace(/ +$/gm, "")}\n`;
}
