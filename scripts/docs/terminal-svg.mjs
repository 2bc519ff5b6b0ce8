// A terminal's screens over time as one SVG that plays by itself: a row that does not change is written once.

/** @typedef {{ text: string, colour: number }} Run colour: of the terminal's palette; -1: the usual one */
/** @typedef {{ at: number, rows: Run[][] }} Frame at: seconds since the beginning */

const cell = { width: 8.4, height: 18 };
const margin = { x: 16, top: 62, bottom: 16 };
/** Of xterm's palette, those that cprkit uses. */
const colours = {
  1: "#ff8f87",
  2: "#7ee2a8",
  3: "#ffd479",
  6: "#7fd7e8",
  9: "#ff8f87",
  10: "#7ee2a8",
  11: "#ffd479",
  14: "#7fd7e8",
};

/**
 * @param {readonly Frame[]} frames
 * @param {{ columns: number, rows: number }} size
 * @param {string} command shown above the output
 * @param {number} rest seconds for which the last frame stays
 */
export function svgOf(frames, { columns, rows }, command, rest) {
  const total = (frames.at(-1)?.at ?? 0) + rest;
  const lines = Array.from({ length: rows }, (_, row) => spans(frames, row, total)).flat();
  const width = Math.ceil(columns * cell.width + 2 * margin.x);
  const height = margin.top + rows * cell.height + margin.bottom;
  const drawn = lines.map(({ row, runs, begin, end }) => {
    const y = margin.top + row * cell.height;
    const last = end >= total;
    const shown = begin === 0 && last ? "" : animation(begin, end, total);
    return `<g visibility="${last ? "visible" : "hidden"}">${textOf(runs, y)}${shown}</g>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="14">
<title>npm run demo: a VM's QEMU is replaced six times while its guest counts</title>
<rect width="${width}" height="${height}" rx="10" fill="#161b22"/>
<circle cx="20" cy="18" r="6" fill="#ff5f56"/><circle cx="40" cy="18" r="6" fill="#ffbd2e"/><circle cx="60" cy="18" r="6" fill="#27c93f"/>
<g fill="#d9e0e8">
<text x="${margin.x}" y="${margin.top - cell.height}">${escaped(command)}</text>
${drawn.join("\n")}
</g>
</svg>
`;
}

/**
 * What a row shows, from when to when.
 *
 * @param {readonly Frame[]} frames
 * @param {number} row
 * @param {number} total
 */
function spans(frames, row, total) {
  /** @type {{ row: number, runs: Run[], begin: number, end: number, key: string }[]} */
  const found = [];
  for (const { at, rows } of frames) {
    const runs = rows[row] ?? [];
    const key = JSON.stringify(runs);
    const last = found.at(-1);
    if (last !== undefined && last.key === key) continue;
    if (last !== undefined) last.end = at;
    found.push({ row, runs, begin: at, end: total, key });
  }
  return found.filter(({ runs }) => runs.some(({ text }) => text.trim() !== ""));
}

/**
 * @param {number} begin seconds
 * @param {number} end
 * @param {number} total
 */
function animation(begin, end, total) {
  const times = [0, begin, Math.min(end, total)].map((time) => (time / total).toFixed(5));
  return `<animate attributeName="visibility" calcMode="discrete" dur="${total.toFixed(1)}s" repeatCount="indefinite" values="hidden;visible;hidden" keyTimes="${times.join(";")}"/>`;
}

/**
 * Each piece between wide gaps at its columns, as wide as they are: another font does not move what follows.
 *
 * @param {readonly Run[]} runs
 * @param {number} y
 */
function textOf(runs, y) {
  let column = 0;
  return runs
    .flatMap(({ text, colour }) => {
      const begin = column;
      column += text.length;
      const fill = /** @type {Record<number, string>} */ (colours)[colour];
      return [...text.matchAll(/\S+(?: \S+)*/g)].map(({ 0: shown, index }) => {
        const x = (margin.x + (begin + index) * cell.width).toFixed(1);
        const length = (shown.length * cell.width).toFixed(1);
        return `<text x="${x}" y="${y}" textLength="${length}" lengthAdjust="spacingAndGlyphs"${fill === undefined ? "" : ` fill="${fill}"`}>${escaped(shown)}</text>`;
      });
    })
    .join("");
}

/** @param {string} text */
function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
