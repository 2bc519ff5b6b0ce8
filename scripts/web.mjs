// The inspector's page: dist/web/inspect.html from src/web, one file that needs nothing else. Two scripts are inside: the
// page's own, and that of its worker, as text that the page makes the worker from. The page's policy allows exactly them.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const source = join(root, "src/web");
const out = join(root, "dist/web");
const page = join(out, "inspect.html");
const licenses = join(out, "LICENSES.txt");

/** What a page may do that is opened as a file: nothing but run its own script. The server allows it to read its files, too. */
const policy = (script, style) =>
  [
    "default-src 'none'",
    "connect-src 'none'",
    // WebAssembly: the decoder of xz is written in it.
    `script-src 'sha256-${digest(script)}' 'wasm-unsafe-eval'`,
    `style-src 'sha256-${digest(style)}'`,
    "worker-src blob:",
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ");

if (!isCurrent()) await make();

async function make() {
  // Loaded only when it is needed: that alone takes longer than to see that nothing has changed.
  const { build } = await import("vite");
  const used = new Map();
  const bundle = async (entry) => {
    const [output] = await build({
      configFile: false,
      root: source,
      logLevel: "warn",
      plugins: [{ name: "packages", load: (id) => note(used, id) }],
      build: {
        write: false,
        target: "es2023",
        minify: "oxc",
        lib: { entry: join(source, entry), name: "cprkit", formats: ["iife"] },
      },
    });
    const [chunk, ...more] = output.output.filter(({ type }) => type === "chunk");
    if (more.length > 0 || chunk.imports.length > 0) throw new Error(`${entry}: it must become one script`);
    // The script's end is looked for in its text, too.
    return chunk.code.trim().replaceAll("</script", "<\\/script").replaceAll("<!--", "<\\!--");
  };
  const worker = await bundle("worker/worker.ts");
  const script = await bundle("main.tsx");
  const style = readFileSync(join(source, "style.css"), "utf8");
  const parts = { POLICY: policy(script, style), STYLE: style, WORKER: worker, SCRIPT: script };
  const html = readFileSync(join(source, "index.html"), "utf8").replace(
    /(?:%|\/\* )([A-Z]+)(?:%| \*\/)/g,
    (_, name) => parts[name],
  );
  mkdirSync(out, { recursive: true });
  writeFileSync(licenses, [...used.values()].sort().join(`\n${"-".repeat(72)}\n\n`));
  writeFileSync(page, html);
}

function digest(text) {
  return createHash("sha256").update(text).digest("base64");
}

/** Notes the licence of the package that a module is from. */
function note(used, id) {
  const path = /^(.*\/node_modules\/((?:@[^/]+\/)?[^/]+))\//.exec(id);
  if (path === null || used.has(path[2])) return null;
  const [, folder, name] = path;
  const { version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = readdirSync(folder).find((each) => /^licen[cs]e/i.test(each));
  if (file === undefined && license === undefined) throw new Error(`${name}: no licence`);
  const text = file === undefined ? "" : readFileSync(join(folder, file), "utf8");
  used.set(name, `${name} ${version} (${license})\n\n${text}`);
  return null;
}

/** Made after everything that it is made from. */
function isCurrent() {
  if (!existsSync(page)) return false;
  const made = statSync(page).mtimeMs;
  const folders = ["web", "vmstate", "migration", "cpr", "files"].map((name) => join(root, "src", name));
  const sources = folders.flatMap((folder) =>
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name)),
  );
  return [...sources, join(root, "package-lock.json"), fileURLToPath(import.meta.url)].every(
    (file) => statSync(file).mtimeMs < made,
  );
}
