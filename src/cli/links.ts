// Links from a code to where its page explains it (OSC 8), in terminals that take them.

import { isTerminal, ownEscape } from "./output.ts";

/** The pages of docs/ that have an anchor for each of their codes. */
export type CodePage = "preflight.md" | "check.md" | "explain.md" | "host.md";

/** Makes a code a link to its place on the page, or leaves it as it is. `shown`: what stands there, without it the code. */
export type CodeLink = (page: CodePage, code: string, shown?: string) => string;

const pages = "https://github.com/cprkit/cprkit/blob/main/docs";

/** For standard output: links where a terminal is that is known to take them, or FORCE_HYPERLINK says so. */
export async function codeLink(): Promise<CodeLink> {
  const forced = process.env["FORCE_HYPERLINK"];
  const plain: CodeLink = (_page, code, shown = code) => shown;
  if (!isTerminal("stdout") && (forced === undefined || forced === "0")) return plain;
  const { default: supports } = await import("supports-hyperlinks");
  if (!supports.stdout) return plain;
  // Of an anchor nothing but letters, digits and dashes is left: what is around the code must not end early.
  return (page, code, shown = code) =>
    `${ownEscape}]8;;${pages}/${page}#${code.replaceAll(/[^\w-]/g, "")}${ownEscape}\\${shown}${ownEscape}]8;;${ownEscape}\\`;
}
