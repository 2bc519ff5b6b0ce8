// What a process becomes in exec-work.ts: node exec-child.js CASE N WAY. Prints how long it took, and the phases.

// Before anything else is loaded: it is Node's own start that ends here.
const begun = process.hrtime.bigint();
const sinceStart = performance.now();

const [name = "", count = "0", way = ""] = process.argv.slice(2);
// The name as in exec-work.ts; importing it would load what is to be measured.
const start = BigInt(process.env["CPRKIT_BENCH_EXEC_MARK"] ?? "0");
const ms = (from: bigint, to: bigint) => Number(to - from) / 1e6;

if (way === "nothing") report(begun, {});
else {
  const load = way === "cprkit" ? await loadOfChannel() : await loadCallByCall();
  const imported = process.hrtime.bigint();
  const state = load();
  const done = process.hrtime.bigint();
  const { benchKeys } = await import("./keys.ts");
  const keys = benchKeys(Number(count));
  const findStart = process.hrtime.bigint();
  let lost = 0;
  for (const key of keys) if (state.findFd(key.name, key.id) < 0) lost++;
  const found = process.hrtime.bigint();
  if (lost > 0 || state.size !== keys.length) throw new Error(`${lost} of ${keys.length} fds are lost`);
  report(done + (found - findStart), {
    "import cprkit": ms(begun, imported),
    "load, set close-on-exec": ms(imported, done),
    "find every fd": ms(findStart, found),
  });
}

async function loadOfChannel() {
  const { loadCprStateFromExec } = await import("cprkit/channel");
  return () => {
    const loaded = loadCprStateFromExec();
    if (loaded === undefined) throw new Error("no state came across exec");
    return loaded.state;
  };
}

async function loadCallByCall() {
  // The modules, where "cprkit/…" is few files now.
  const [{ cprExecVariable }, { loadCprState }, { closeFd, isOpen, setCloseOnExec }, fs] = await Promise.all([
    import("../../dist/channel/index.js"),
    import("../../dist/cpr/index.js"),
    import("../../dist/linux/index.js"),
    import("node:fs"),
    import("../../dist/vmstate/index.js"),
  ]);
  return () => {
    const memfd = Number(process.env[cprExecVariable]);
    const bytes = new Uint8Array(fs.fstatSync(memfd).size);
    fs.readSync(memfd, bytes, 0, bytes.length, 0);
    const { state } = loadCprState({ bytes });
    for (const { fd } of state) if (isOpen(fd)) setCloseOnExec(fd, true);
    closeFd(memfd);
    return state;
  };
}

function report(end: bigint, phases: Readonly<Record<string, number>>): void {
  const whole = {
    "save, clear close-on-exec, exec": ms(start, begun) - sinceStart,
    "Node's start": sinceStart,
    ...phases,
    total: ms(start, end),
  };
  const figures = { case: name, n: Number(count), ops: 1, samples_ns: [Number(end - start)], check: Number(count) };
  process.stdout.write(`${JSON.stringify({ ...figures, phases_ms: whole })}\n`);
}
