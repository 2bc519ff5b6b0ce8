// Colours for text that output.ts prints. A file of its own: most commands need none, and a cold start pays for each file.

import pc from "picocolors";
import { harmlessLines } from "../vmstate/shown/text.ts";
import { isTerminal, ownEscape } from "./output.ts";

/** Set, and not to say no. NO_COLOR wins. */
const isForced = !["", "0", "false"].includes(process.env["FORCE_COLOR"] ?? "");

/** Colour only on a terminal, unless it is asked for: picocolors by itself takes a CI log for one. */
const onTerminal = pc.createColors((isForced || isTerminal("stdout")) && pc.isColorSupported);

export const colours = {
  bold: paint(onTerminal.bold),
  green: paint(onTerminal.green),
  red: paint(onTerminal.red),
  yellow: paint(onTerminal.yellow),
};

function paint(colour: (text: string) => string): (text: string) => string {
  return (text) => colour(harmlessLines(text)).replaceAll("\x1b", ownEscape);
}
