// Tables for people: plain columns, no frame, so that a line can be copied and cut.

/** Between two columns. */
const gap = "  ";

/** Rows under a header. Columns named in `right` are right-aligned. Takes time in proportion to the rows. */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  right: readonly string[] = [],
): string {
  const widths = head.map(widthOf);
  for (const row of rows) {
    for (let at = 0; at < widths.length; at++) widths[at] = Math.max(widths[at] ?? 0, widthOf(row[at] ?? ""));
  }
  const toRight = head.map((name) => right.includes(name));
  const line = (cells: readonly string[]): string =>
    widths
      .map((width, at) => {
        const cell = cells[at] ?? "";
        const room = " ".repeat(width - widthOf(cell));
        return toRight[at] === true ? room + cell : cell + room;
      })
      .join(gap)
      .trimEnd();
  return `${[head, ...rows].map(line).join("\n")}\n`;
}

/** Columns of a terminal that `text` takes: two for wide characters, none for those that go onto the one before. */
function widthOf(text: string): number {
  if (plain.test(text)) return text.length;
  let width = 0;
  for (const char of text) width += mark.test(char) ? 0 : wide.test(char) ? 2 : 1;
  return width;
}

const plain = /^[\x20-\x7e]*$/;
const mark = /\p{Mn}|\p{Me}|\p{Cf}/u;
/** East Asian wide and full-width characters, emoji (Unicode's EastAsianWidth.txt, in ranges). */
const wide =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}|[\u{20000}-\u{3fffd}]/u;
