// Colours for text that output.ts prints. A file of its own: most commands need none, and a cold start pays for each file.

import pc from "picocolors";
import { harmlessLines } from "../vmstate/shown/text.ts";
import { isTerminal, ownEscape } from "./output.ts";

/** Colour only on a terminal: picocolors by itself takes a CI log for one. */
const onTerminal = pc.createColors(isTerminal("stdout") && pc.isColorSupported);

export const colours = {
  bold: paint(onTerminal.bold),
  green: paint(onTerminal.green),
  red: paint(onTerminal.red),
  yellow: paint(onTerminal.yellow),
};

function paint(colour: (text: string) => string): (text: string) => string {
  return (text) => colour(harmlessLines(text)).replaceAll("\x1b", ownEscape);
}
