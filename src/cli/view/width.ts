// How wide text is on a terminal, and text that fits.

/** Columns of a terminal that `text` takes: two for wide characters, none for those that go onto the one before. */
export function widthOf(text: string): number {
  if (plain.test(text)) return text.length;
  let width = 0;
  for (const char of text) width += widthOfChar(char);
  return width;
}

/** `text`, or as much of it as goes into so many columns with an ellipsis behind. */
export function cutTo(text: string, columns: number): string {
  if (widthOf(text) <= columns) return text;
  let [out, width] = ["", 0];
  for (const char of text) {
    width += widthOfChar(char);
    if (width > columns - 1) break;
    out += char;
  }
  return `${out}…`;
}

function widthOfChar(char: string): number {
  return mark.test(char) ? 0 : wide.test(char) ? 2 : 1;
}

const plain = /^[\x20-\x7e]*$/;
const mark = /\p{Mn}|\p{Me}|\p{Cf}/u;
/** East Asian wide and full-width characters, emoji (Unicode's EastAsianWidth.txt, in ranges). */
const wide =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}|[\u{20000}-\u{3fffd}]/u;
