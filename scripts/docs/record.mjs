// `npm run record`: the picture of the README, docs/demo.svg, from a real run of `npm run demo` in a terminal of 80 columns
// and 24 lines. script(1) of util-linux makes the terminal and writes down when what came; xterm reads it as a terminal does.

import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import xterm from "@xterm/headless";
import { svgOf } from "./terminal-svg.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const size = { columns: 80, rows: 24 };
/** Seconds between two looks at the screen, and for how long its end is shown. */
const step = 0.2;
const rest = 6;

const folder = mkdtempSync(join(tmpdir(), "cprkit-record-"));
try {
  const at = (/** @type {string} */ name) => join(folder, name);
  const command = `stty cols ${size.columns} rows ${size.rows}; npm run demo --silent`;
  // With CI set, even empty, nothing is drawn twice.
  const { CI: _, ...env } = process.env;
  const { status, error } = spawnSync(
    "script",
    ["-qe", "-c", command, "--log-out", at("out"), "--log-timing", at("timing")],
    { cwd: root, stdio: ["ignore", "ignore", "inherit"], env: { ...env, TERM: "xterm-256color" } },
  );
  if (error !== undefined || status !== 0) throw error ?? new Error(`the demo ended with exit code ${status}`);
  const frames = await play(readFileSync(at("out")), readFileSync(at("timing"), "utf8"));
  writeFileSync(join(root, "docs/demo.svg"), svgOf(frames, size, "$ npm run demo", rest));
  process.stdout.write(`docs/demo.svg: ${frames.length} pictures, ${frames.at(-1)?.at.toFixed(0)} s\n`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/**
 * What the screen shows, each time that it has changed.
 *
 * @param {Buffer} output with script's first line
 * @param {string} timing a line for each piece: seconds since the last one, bytes
 * @returns {Promise<import("./terminal-svg.mjs").Frame[]>}
 */
async function play(output, timing) {
  const terminal = new xterm.Terminal({
    cols: size.columns,
    rows: size.rows,
    allowProposedApi: true,
    scrollback: 1000,
  });
  const frames = [];
  // The file begins with a line of script's own.
  let offset = output.indexOf(10) + 1;
  let now = 0;
  let next = 0;
  for (const line of timing.split("\n")) {
    const [, delay, bytes] = /^(?:O )?([\d.]+) (\d+)$/.exec(line) ?? [];
    if (delay === undefined) continue;
    now += Number(delay);
    for (; next <= now; next += step) frames.push({ at: next, rows: screenOf(terminal) });
    const piece = output.subarray(offset, offset + Number(bytes));
    offset += Number(bytes);
    await new Promise((resolve) => terminal.write(piece, () => resolve(undefined)));
  }
  frames.push({ at: next, rows: screenOf(terminal) });
  return frames;
}

/** @param {import("@xterm/headless").Terminal} terminal */
function screenOf(terminal) {
  const { active } = terminal.buffer;
  return Array.from({ length: size.rows }, (_, row) => {
    /** @type {import("./terminal-svg.mjs").Run[]} */
    const runs = [];
    const line = active.getLine(active.viewportY + row);
    for (let column = 0; column < size.columns; column++) {
      const cell = line?.getCell(column);
      const colour = cell?.isFgPalette() ? cell.getFgColor() : -1;
      const text = cell?.getChars() || " ";
      const last = runs.at(-1);
      if (last !== undefined && last.colour === colour) last.text += text;
      else runs.push({ text, colour });
    }
    return runs;
  });
}
