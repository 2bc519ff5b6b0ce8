// The library in few files: dist/node/, what Node loads for `import "cprkit/…"`. A program that starts reads some ten files
// in place of up to 290; what several subpaths share is in files that they share, so each thing is there once. Bundlers for
// other places get the modules of dist/ as they are (docs/decisions/0024-library-in-few-files.md).

import { existsSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

const root = fileURLToPath(new URL("..", import.meta.url));
const dist = join(root, "dist");
const out = join(dist, "node");
/** Made of nothing that the library uses. */
const others = ["cli", "node", "web"];

if (!isCurrent()) await make();

async function make() {
  const { exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const input = {};
  for (const { node, default: module } of Object.values(exports))
    if (node !== undefined) input[relative(out, join(root, node)).replace(/\.js$/, "")] = join(root, module);
  const bundle = await rolldown({ input, platform: "node", external: (id) => !/^[./]/.test(id) });
  rmSync(out, { recursive: true, force: true });
  await bundle.write({
    dir: out,
    format: "esm",
    // They are in the modules and their types.
    comments: false,
    entryFileNames: "[name].js",
    chunkFileNames: "[name]-[hash].js",
  });
  await bundle.close();
}

/** Made after everything that it is made from. */
function isCurrent() {
  if (!existsSync(join(out, "index.js"))) return false;
  const made = statSync(join(out, "index.js")).mtimeMs;
  const modules = readdirSync(dist, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".js") && !others.includes(name.split("/")[0]))
    .map((name) => join(dist, name));
  return [...modules, join(root, "package.json"), fileURLToPath(import.meta.url)].every(
    (file) => statSync(file).mtimeMs < made,
  );
}
