// The command line in few files: dist/cli/bundle/ from dist/cli/main.js and the libraries that it uses. A cold start reads
// a handful of files instead of some hundred, and they are scripts, which V8 can keep compiled (bin/start.cjs).

import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

const root = fileURLToPath(new URL("..", import.meta.url));
const out = join(root, "dist/cli/bundle");
const stamp = join(out, "index.json");

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
    ],
  });
  const { output } = await bundle.write({
    dir: out,
    format: "cjs",
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
  const hash = createHash("sha256");
  for (const { fileName } of output) hash.update(readFileSync(join(out, fileName)));
  writeFileSync(stamp, `${JSON.stringify({ id: hash.digest("hex").slice(0, 16) })}\n`);
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
