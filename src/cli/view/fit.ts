// Lines that fit the screen: broken between words where somebody looks, whole everywhere else.

import { ownEscape, screenColumns } from "../output.ts";
import { widthOf } from "./width.ts";

/**
 * A line of words, which may have colours and links in it. Where it is too long for the screen it goes on below, indented. A
 * word that is longer than a line stays whole, so that a path can be copied.
 *
 * @param columns how wide the screen is; undefined: nothing is broken
 */
export function fit(line: string, indent: number, columns = screenColumns()): string {
  if (columns === undefined) return line;
  const below = Math.min(indent, columns >> 1);
  const [first = "", ...rest] = brokenLines(line, columns, columns - below);
  return [first, ...rest.map((each) => " ".repeat(below) + each)].join("\n");
}

/** The lines of a text, the first and the later ones each so wide at most, unless a word is wider. */
export function brokenLines(text: string, first: number, later = first): string[] {
  const lines: string[] = [];
  let [line, width] = ["", 0];
  for (const [, space = "", word = ""] of text.matchAll(/( *)([^ ]*)/g)) {
    const added = space.length + shownWidth(word);
    if (line !== "" && word !== "" && width + added > (lines.length === 0 ? first : later)) {
      lines.push(line);
      [line, width] = [word, shownWidth(word)];
    } else [line, width] = [line + space + word, width + added];
  }
  return [...lines, line];
}

/** Without our own colours and links, which take no room. */
function shownWidth(word: string): number {
  return widthOf(word.includes(ownEscape) ? word.replaceAll(ownSequence, "") : word);
}

const ownSequence = new RegExp(`${ownEscape}(?:\\[[\\d;]*m|\\]8;;.*?${ownEscape}\\\\)`, "g");
