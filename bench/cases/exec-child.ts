// What a process becomes in exec-work.ts: node exec-child.js CASE N. Prints the phases as one line of JSON.

// Before anything else is loaded: it is Node's own start that ends here.
const begun = process.hrtime.bigint();
const sinceStart = performance.now();

const { loadCprStateFromExec } = await import("cprkit/channel");
const { benchKeys } = await import("./keys.ts");
const imported = process.hrtime.bigint();
const loaded = loadCprStateFromExec();
const done = process.hrtime.bigint();
if (loaded === undefined) throw new Error("no state came across exec");
const { state } = loaded;
const [name = "", count = "0"] = process.argv.slice(2);
const keys = benchKeys(Number(count));
const findStart = process.hrtime.bigint();
let lost = 0;
for (const key of keys) if (state.findFd(key.name, key.id) < 0) lost++;
const found = process.hrtime.bigint();
if (lost > 0 || state.size !== keys.length) throw new Error(`${lost} of ${keys.length} fds are lost`);

// The name as in exec-work.ts; importing it would load what is to be measured.
const [start = 0n, written = 0n, cleared = 0n] = (process.env["CPRKIT_BENCH_EXEC_MARKS"] ?? "").split(",").map(BigInt);
const ms = (from: bigint, to: bigint) => Number(to - from) / 1e6;
const execToCode = ms(cleared, begun);
const phases = {
  "write the state": ms(start, written),
  "clear close-on-exec": ms(written, cleared),
  "exec until Node begins": execToCode - sinceStart,
  "Node's start": sinceStart,
  "import cprkit": ms(begun, imported),
  "load, set close-on-exec": ms(imported, done),
  "find every fd": ms(findStart, found),
  total: ms(start, done) + ms(findStart, found),
};
process.stdout.write(`${JSON.stringify({ case: name, n: keys.length, phases_ms: phases })}\n`);
