// `npm run fuzz`: each loader against broken input, guided by coverage, with Jazzer.js. Jazzer.js is fetched on first
// use. Its native part needs glibc 2.38; where the system's is older, node runs on the glibc of the fetched QEMU 11.1.

import { spawnSync } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { build } from "vite";
import { packed, unpacked } from "./corpus.mjs";
import { reduced } from "./reduce.mjs";

const jazzerVersion = "4.0.0";
const root = fileURLToPath(new URL("..", import.meta.url));
const cache = resolve(process.env.CPRKIT_CACHE || join(root, ".cache"));
const targets = readdirSync(join(root, "fuzz/targets")).map((file) => basename(file, ".ts"));

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: "string", default: "60" },
    runs: { type: "string" },
    seed: { type: "string", default: "1" },
    keep: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  },
});
const chosen = positionals.length === 0 ? targets : positionals;
const numbers = [values.seconds, values.runs ?? "1", values.seed].map(Number);
if (values.help || !chosen.every((name) => targets.includes(name)) || !numbers.every((n) => n > 0)) {
  process.stderr.write(
    `usage: npm run fuzz -- [TARGET...] [--seconds 60 | --runs N] [--seed 1] [--keep]

Each target runs for so many seconds, or executions. What it finds is kept in .cache/fuzz and used again the next time;
--keep also writes those worth keeping to fuzz/corpus, which npm test replays.
Targets: ${targets.join(", ")}
`,
  );
  process.exit(values.help ? 0 : 2);
}

const work = join(cache, "fuzz");
const jazzer = fetchJazzer();
const bundles = await bundled();
let failed = false;
for (const name of chosen) failed = !(await fuzz(name)) || failed;
process.exitCode = failed ? 1 : 0;

/** Runs one target. False if it found something, which is then in .cache/fuzz/NAME. */
async function fuzz(name) {
  const folder = join(work, name);
  const corpus = join(folder, "corpus");
  mkdirSync(corpus, { recursive: true });
  for (const [at, input] of unpacked(name).entries()) writeFileSync(join(corpus, `saved-${at}`), input);
  const limit = values.runs === undefined ? `-max_total_time=${values.seconds}` : `-runs=${values.runs}`;
  const end = jazz(
    name,
    [corpus],
    [limit, `-seed=${values.seed}`, "-max_len=8192", "-timeout=10", "-rss_limit_mb=2048"],
  );
  process.stdout.write(`${name}: ${summary(end.log)}\n`);
  if (end.status !== 0) {
    process.stdout.write(`${name} FAILED: see ${folder}\n${end.log.slice(-4000)}\n`);
    return false;
  }
  if (values.keep) await keep(name, corpus);
  return true;
}

/** Writes the inputs worth keeping to fuzz/corpus; long ones are left out, to keep the files small. */
async function keep(name, corpus) {
  const inputs = readdirSync(corpus).map((file) => new Uint8Array(readFileSync(join(corpus, file))));
  const short = inputs.filter(({ length }) => length > 0 && length <= 1500);
  const kept = await reduced(pathToFileURL(bundles.get(name)).href, short);
  writeFileSync(join(root, "fuzz/corpus", `${name}.txt`), packed(kept));
}

function jazz(name, folders, flags) {
  const words = [
    join(jazzer, "node_modules/@jazzer.js/core/dist/cli.js"),
    bundles.get(name),
    ...folders,
    ...["--sync", "-i", bundles.get(name), "-e", "node_modules", "--disableBugDetectors", ".*", "--"],
    ...flags,
    `-artifact_prefix=${join(work, name)}/`,
    "-print_final_stats=1",
  ];
  const [program, ...before] = nodeWords();
  const path = join(work, name, "log.txt");
  const fd = openSync(path, "w");
  const { status } = spawnSync(program, [...before, ...words], { stdio: ["ignore", fd, fd] });
  closeSync(fd);
  return { status, log: readFileSync(path, "utf8") };
}

/** How node is started: on the system's glibc if it is new enough. */
function nodeWords() {
  const [major, minor] = (process.report.getReport().header.glibcVersionRuntime ?? "0.0").split(".").map(Number);
  if (major > 2 || minor >= 38) return [process.execPath];
  const libraries = join(cache, "qemu/11.1/root/usr/lib/x86_64-linux-gnu");
  const loader = join(libraries, "ld-linux-x86-64.so.2");
  if (!existsSync(loader)) {
    process.stderr.write(`cprkit: Jazzer.js needs glibc 2.38, found ${major}.${minor}; \`npm run qemu\` fetches one\n`);
    process.exit(4);
  }
  return [loader, "--library-path", libraries, process.execPath];
}

/** Jazzer.js in the cache, not among the packages that `npm ci` installs. */
function fetchJazzer() {
  const folder = join(cache, `jazzer-${jazzerVersion}`);
  if (existsSync(join(folder, "node_modules/@jazzer.js/core"))) return folder;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "package.json"), "{}\n");
  const words = ["install", "--no-audit", "--no-fund", "--ignore-scripts", `@jazzer.js/core@${jazzerVersion}`];
  const { status } = spawnSync("npm", words, { cwd: folder, stdio: ["ignore", "ignore", "inherit"] });
  if (status === 0) return folder;
  process.stderr.write("cprkit: Jazzer.js can't be installed\n");
  process.exit(4);
}

/** One file for each target, with all of cprkit that it uses and nothing else: so coverage counts cprkit's code alone. */
async function bundled() {
  // Inside the package: there its dependencies are found.
  const outDir = join(root, "fuzz/dist");
  for (const name of chosen) {
    await build({
      root,
      configFile: false,
      logLevel: "error",
      build: {
        ssr: `fuzz/targets/${name}.ts`,
        outDir,
        emptyOutDir: false,
        minify: false,
        target: "node20",
        rollupOptions: { output: { entryFileNames: "[name].js", codeSplitting: false } },
      },
    });
  }
  return new Map(chosen.map((name) => [name, join(outDir, `${name}.js`)]));
}

function summary(log) {
  const last = log.split("\n").findLast((line) => /^#\d+\s/.test(line)) ?? "";
  const [, cov = "?", corp = "?"] = /cov: (\d+) .*corp: (\S+)/.exec(last) ?? [];
  const [, runs = "?"] = /number_of_executed_units: (\d+)/.exec(log) ?? /^#(\d+)/.exec(last) ?? [];
  // The first module is libFuzzer's own; the second is the bundle.
  const [, edges = "?"] = /Loaded 2 modules .*, (\d+) \[/.exec(log) ?? [];
  return `${runs} executions, ${cov} of ${edges} edges covered, corpus ${corp}`;
}
