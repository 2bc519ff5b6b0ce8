// The command line on a terminal of a certain width: a real one, made by script(1).

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { expect } from "vitest";
import { widthOf } from "../../src/cli/view/width.ts";
import { repoRoot } from "./cli.ts";

const script = "/usr/bin/script";

/** Why there can be none here; undefined if there can. */
export const noScreen = existsSync(script) ? undefined : "there is no script(1) to make a terminal";

/** What a terminal shows: its lines, and the addresses of the links in them. */
export interface Screen {
  readonly lines: readonly string[];
  readonly links: readonly string[];
}

/** Runs `bin/cprkit` with the words, each command after the other, in a terminal that takes links. */
export async function onScreen(
  columns: number,
  commands: readonly (readonly string[])[],
  env: NodeJS.ProcessEnv = {},
): Promise<Screen[]> {
  const mark = "----- next command";
  const quoted = (word: string) => `'${word.replaceAll("'", "'\\''")}'`;
  const each = commands.map(
    (words) => `${[process.execPath, "bin/cprkit", ...words].map(quoted).join(" ")} 2>/dev/null; echo "${mark}"`,
  );
  const child = spawn(script, ["-qec", [`stty cols ${columns} rows 50`, ...each].join("; "), "/dev/null"], {
    cwd: repoRoot,
    stdio: ["pipe", "pipe", "inherit"],
    env: { PATH: process.env["PATH"], HOME: process.env["HOME"], TERM: "xterm-256color", VTE_VERSION: "7600", ...env },
  });
  let shown = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    shown += text;
  });
  await new Promise((resolve) => child.once("close", resolve));
  child.stdin.destroy();
  const parts = shown.replaceAll("\r\n", "\n").split(`${mark}\n`);
  expect(parts).toHaveLength(commands.length + 1);
  return parts.slice(0, -1).map((part) => {
    const links = [...part.matchAll(link)].map(([, address = ""]) => address).filter((address) => address !== "");
    const text = part.replaceAll(link, "").replaceAll(colour, "");
    return { lines: text.trimEnd().split("\n"), links };
  });
}

const esc = "\u001b";
const link = new RegExp(`${esc}\\]8;;([^${esc}]*)${esc}\\\\`, "g");
const colour = new RegExp(`${esc}\\[[\\d;?]*[A-Za-z]`, "g");

/** Each line fits, unless it is a single word, which stays whole. */
export function expectFits(lines: readonly string[], columns: number): void {
  const wide = lines.filter((line) => widthOf(line) > columns && line.trim().includes(" "));
  expect(wide, `${columns} columns`).toEqual([]);
}

/** The same words, however they are broken into lines. */
export function words(text: string | readonly string[]): string[] {
  return (typeof text === "string" ? text : text.join("\n")).split(/\s+/).filter((word) => word !== "");
}
