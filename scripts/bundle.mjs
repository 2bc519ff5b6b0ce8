// The command line in few files: dist/cli/bundle/ from dist/cli/main.js and the libraries that it uses. A cold start reads
// one file instead of some hundred, and it is a script, which V8 can keep compiled (bin/start.cjs).

import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

const root = fileURLToPath(new URL("..", import.meta.url));
const out = join(root, "dist/cli/bundle");
const stamp = join(out, "index.json");

/** Commands that are started often, or by programs: each has a script of its own. The others share one. */
const often = new Set(["inspect", "status", "update", "ensure", "preflight", "fds"]);
/** Modules that a command rarely loads, and most of its code then: a script of their own. */
const apart = ["commands/streams/inspect-machine", "cli/web/run"];

if (!isCurrent()) await make();

async function make() {
  rmSync(out, { recursive: true, force: true });
  const used = new Set();
  const bundle = await rolldown({
    input: { main: join(root, "dist/cli/main.js") },
    platform: "node",
    external: ["koffi", /^node:/],
    plugins: [
      {
        // A file that is looked for beside a module is still beside that module.
        name: "import.meta.url as it was",
        transform(code, id) {
          if (id.includes("node_modules")) used.add(packageOf(id));
          if (!code.includes("import.meta.url")) return undefined;
          const path = JSON.stringify(relative(out, id));
          const original = `require("node:url").pathToFileURL(require("node:path").join(__dirname, ${path})).href`;
          return { code: code.replaceAll("import.meta.url", original) };
        },
      },
      {
        // commander would start programs with it, which none of our commands asks for.
        name: "child_process only when it is used",
        transform(code, id) {
          if (!/commander[/\\]lib[/\\]command\.js$/.test(id)) return undefined;
          const eager = "const childProcess = require('node:child_process');";
          if (!code.includes(eager)) throw new Error("commander loads node:child_process in another way now");
          const lazy = "const childProcess = { get spawn() { return require('node:child_process').spawn; } };";
          return { code: code.replace(eager, lazy) };
        },
      },
    ],
  });
  const { output } = await bundle.write({
    dir: out,
    format: "cjs",
    // Licences are in LICENSES.txt.
    comments: false,
    entryFileNames: "[name].cjs",
    chunkFileNames: "[name]-[hash].cjs",
  });
  await bundle.close();
  writeFileSync(
    join(out, "LICENSES.txt"),
    [...used]
      .sort()
      .map(licenseOf)
      .join(`\n${"-".repeat(72)}\n\n`),
  );
  const names = writePacks(output);
  const hash = createHash("sha256");
  for (const name of new Set(Object.values(names).flatMap(Object.values)))
    hash.update(readFileSync(join(out, `${name}.pack`)));
  writeFileSync(stamp, `${JSON.stringify({ id: hash.digest("hex").slice(0, 16), ...names })}\n`);
}

/**
 * Scripts with all that a command may load, as functions by name; "main" for what is no command. Functions that are not
 * called cost next to nothing: V8 does not compile them.
 *
 * @returns the script's name for each command, and for each file that is in a script of its own
 */
function writePacks(output) {
  const chunks = new Map(output.map((chunk) => [chunk.fileName, chunk]));
  const holding = (module) => output.find(({ moduleIds = [] }) => moduleIds.some((id) => id.endsWith(module))).fileName;
  const alone = new Map(apart.map((module) => [holding(`/${module}.js`), module.replaceAll("/", "-")]));
  const reach = (from, dynamic, reached = new Set()) => {
    const chunk = chunks.get(from);
    if (chunk === undefined || reached.has(from) || (reached.size > 0 && alone.has(from))) return reached;
    reached.add(from);
    for (const next of [...chunk.imports, ...(dynamic ? chunk.dynamicImports : [])]) reach(next, dynamic, reached);
    return reached;
  };
  const main = [...reach("main.cjs", false), ...reach(holding("/commander/lib/command.js"), false)];
  const parts = new Map([["main", new Set(main)]]);
  const packs = { main: "main" };
  for (const file of chunks.get("main.cjs").dynamicImports) {
    const [, command] = /\/cli\/commands\/.*?([\w-]+)\.js$/.exec(chunks.get(file)?.facadeModuleId ?? "") ?? [];
    if (command === undefined) continue;
    packs[command] = often.has(command) ? command : "others";
    const before = parts.get(packs[command]) ?? main;
    parts.set(packs[command], new Set([...before, ...reach(file, true)]));
  }
  for (const [file, name] of alone) parts.set(name, reach(file, true));
  for (const [name, files] of parts) {
    const functions = [...files].map((file) => `${JSON.stringify(file)}: ${inFunction(join(out, file))}`);
    writeFileSync(join(out, `${name}.pack`), `({\n${functions.join(",\n")}\n})\n`);
  }
  for (const file of chunks.keys()) rmSync(join(out, file));
  return { packs, apart: Object.fromEntries(alone) };
}

/** In ASCII: such a file need not be decoded. */
function inFunction(file) {
  const ascii = readFileSync(file, "utf8").replace(
    /[^\0-\x7f]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  return `function (exports, require, module, __filename, __dirname) {${ascii}\n}`;
}

/** Made after everything that it is made from. */
function isCurrent() {
  if (!existsSync(stamp)) return false;
  const made = statSync(stamp).mtimeMs;
  const sources = readdirSync(join(root, "dist"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".js"))
    .map((name) => join(root, "dist", name));
  return [...sources, join(root, "package-lock.json"), fileURLToPath(import.meta.url)].every(
    (file) => statSync(file).mtimeMs < made,
  );
}

function packageOf(id) {
  const after = id.slice(id.lastIndexOf("node_modules/") + "node_modules/".length).split("/");
  const name = after.slice(0, after[0].startsWith("@") ? 2 : 1).join("/");
  return id.slice(0, id.lastIndexOf("node_modules/")) + join("node_modules", name);
}

function licenseOf(folder) {
  const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((each) => /^licen[cs]e/i.test(each));
  if (file === undefined && license === undefined) throw new Error(`${relative(dirname(folder), folder)}: no licence`);
  return `${name} ${version} (${license})\n\n${file === undefined ? "" : readFileSync(join(folder, file), "utf8")}`;
}
