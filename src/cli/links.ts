// Links to a code's page (OSC 8), in terminals that take them.

import { isTerminal, ownEscape } from "./output.ts";

/** Makes a word a link, or leaves it as it is. */
export type Linker = (word: string, anchor: string) => string;

const pages = "https://github.com/cprkit/cprkit/blob/main/docs";

/**
 * For standard output: where a terminal is that is known to take links, or FORCE_HYPERLINK says so.
 *
 * @param page of docs/, such as "preflight.md"
 */
export async function linkerTo(page: string): Promise<Linker> {
  const forced = process.env["FORCE_HYPERLINK"];
  if (!isTerminal("stdout") && (forced === undefined || forced === "0")) return (word) => word;
  const { default: supports } = await import("supports-hyperlinks");
  if (!supports.stdout) return (word) => word;
  // Of an anchor nothing but letters, digits and dashes is left: what is around the word must not end early.
  return (word, anchor) =>
    `${ownEscape}]8;;${pages}/${page}#${anchor.replaceAll(/[^\w-]/g, "")}${ownEscape}\\${word}${ownEscape}]8;;${ownEscape}\\`;
}
