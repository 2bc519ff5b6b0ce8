// The fenced blocks of the README and the documentation, and whether what a command printed is what a page shows.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { writtenPages } from "../../scripts/docs/site.mjs";
import { repoRoot } from "../support/cli.ts";

/** A fenced block. */
export interface Block {
  /** File and number of the block in it, such as "docs/vmstate.md#2". */
  readonly name: string;
  /** The first word after the fence: the language. */
  readonly language: string;
  /** It is not run: the second word. */
  readonly excerpt: boolean;
  readonly text: string;
}

/** Every page that a person reads: those below docs/, the README, and how to contribute. */
export const pages: readonly string[] = [
  "README.md",
  "CONTRIBUTING.md",
  ...writtenPages().map((page: string) => `docs/${page}`),
];

/** All blocks of a page, in order. */
export function blocksOf(page: string): Block[] {
  const text = readFileSync(join(repoRoot, page), "utf8");
  return [...text.matchAll(/^( *)```(.*)\n([\s\S]*?)^\1```$/gm)].map(([, , info = "", body = ""], index) => {
    const [language = "", mark] = info.split(" ");
    return { name: `${page}#${index + 1}`, language, excerpt: mark === "excerpt", text: body };
  });
}

/** A command of a console block, and what it prints. */
export interface Shown {
  readonly command: string;
  readonly output: string;
}

/** The commands of a console block: each line after "$ ", with the lines up to the next one. */
export function commandsOf(block: Block): Shown[] {
  return block.text
    .split(/^\$ /m)
    .slice(1)
    .map((part) => {
      const end = part.indexOf("\n");
      return { command: part.slice(0, end), output: part.slice(end + 1) };
    });
}

/**
 * Whether `real` is as a page shows it. "..." stands for anything: alone on its line for lines, else for text. With
 * `numbers: false` every number is as good as any other, and so is the room that it takes.
 */
export function isAsShown(shown: string, real: string, { numbers }: { readonly numbers: boolean }): boolean {
  const plain = (text: string) => (numbers ? text : text.replace(/\d[\d,.]*\d|\d/g, "0").replace(/ +/g, " "));
  const literal = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const lines = plain(shown.trimEnd())
    .split("\n")
    .map((line) => (line === "..." ? "(?:.*\n)*?" : `${line.split("...").map(literal).join(".*")}\n`));
  return new RegExp(`^${lines.join("")}$`).test(`${plain(real.trimEnd())}\n`);
}
