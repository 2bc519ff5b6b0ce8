// The ten rows that matter, out of bench/results/bench.json into docs/performance.md, between its two marks. `npm run bench`
// ends with it.
//
//   node scripts/bench/table.mjs
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const page = join(root, "docs/performance.md");
const begin = "<!-- npm run bench writes from here -->\n";
const end = "<!-- to here -->\n";

/** Row of bench.json, its size, the peer; what it is called. */
const chosen = [
  ["find", 7530, "C GHashTable", "`findFd`, names held, random order, ns"],
  ["find", 7530, "C, names interned", "the same, and C interns its names too"],
  ["fresh", 7530, "C, g_strdup_printf", "`findFd`, names made for each look-up as QEMU makes them, ns"],
  ["save-list", 7530, "C hash, list on the wire", "a whole state saved, QEMU's form, ns an fd"],
  ["load-list", 7530, "C hash, list on the wire", "a whole state loaded, QEMU's form, ns an fd"],
  ["transfer-16", 7530, "C, 16 a message", "fds to QEMU, 16 a message, ms in all"],
  ["records-load", 5000, "written by hand", "compiled: records of 12 values loaded, ns a value"],
  ["records-save", 5000, "written by hand", "compiled: records of 12 values saved, ns a value"],
  ["ghash-load", 1_000_000, "written by hand", "compiled: a hash table of 1,000,000 loaded, ns an entry"],
  ["exec", 7530, "a call an fd, all modules", "a Node program becomes the next with 7,530 fds, ms in all"],
];

const { machine, rows } = JSON.parse(readFileSync(join(root, "bench/results/bench.json"), "utf8"));
const text = readFileSync(page, "utf8");
const [from, to] = [text.indexOf(begin) + begin.length, text.indexOf(end)];
if (from < begin.length || to < 0) throw new Error(`${page} has no marks`);
writeFileSync(page, text.slice(0, from) + table() + text.slice(to));

function table() {
  const { cpu, cores, memoryGib, kernel, node, gcc, load } = machine;
  const where = `${cpu}, ${cores} cores, ${memoryGib} GiB, Linux ${kernel}, Node ${node}, gcc ${gcc ?? "none"}; load when it began: ${load}.`;
  const head = ["| what | cprkit | peer | ratio | aim | |", "| --- | --- | --- | --- | --- | --- |"];
  return `\n${where}\n\n${[...head, ...chosen.flatMap(line)].join("\n")}\n\n`;
}

function line([id, n, label, what]) {
  const row = rows.find((each) => each.id === id && each.n === n);
  const at = row?.peers.findIndex((peer) => peer.label === label) ?? -1;
  if (at < 0) return [];
  const { min: ratio, aim } = row.ratios[at];
  const verdict = aim === undefined ? "" : ratio <= aim ? "met" : "**missed**";
  return `| ${what} | ${figure(row.ours)} | ${label}: ${figure(row.peers[at])} | ${ratio.toFixed(2)} | ${aim ?? ""} | ${verdict} |`;
}

/** The shortest and, in brackets, the median. */
function figure({ min, median }) {
  const digits = (value) => value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0);
  return `${digits(min)} (${digits(median)})`;
}
