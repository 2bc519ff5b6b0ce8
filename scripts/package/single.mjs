// The command line as one file, package/cprkit.cjs: for a host that has Node and no npm. Everything is in it, also
// koffi's library for this machine's kind of processor, compressed (head.cjs lays it into the user's cache).

import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants } from "node:zlib";
import { rolldown } from "rolldown";

export const root = fileURLToPath(new URL("../..", import.meta.url));
export const folder = join(root, "package");
const require = createRequire(import.meta.url);
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

/**
 * Writes the file. @param {string} file @param {{ readonly musl: boolean }} options with the library for musl, too
 * @returns {Promise<void>}
 */
export async function writeSingle(file, { musl }) {
  const head = readFileSync(new URL("head.cjs", import.meta.url), "utf8");
  const packed = { id: "", koffi: packedKoffi(musl), xz: compressed(readFileSync(require.resolve("xz-decompress"))) };
  packed.id = sha256(JSON.stringify(packed)).slice(0, 16);
  const bundle = await rolldown({
    input: "cprkit-entry",
    platform: "node",
    external: [/^node:/],
    plugins: [entry, places],
    // package.json says that modules do nothing by themselves: this one is a program.
    treeshake: { moduleSideEffects: [{ test: /new-process\.js$/, sideEffects: true }] },
  });
  const { output } = await bundle.generate({
    format: "cjs",
    codeSplitting: false,
    minify: { compress: true, mangle: false, codegen: { removeWhitespace: true } },
  });
  await bundle.close();
  const licenses = readFileSync(join(root, "dist/cli/bundle/LICENSES.txt"), "utf8").replaceAll("*/", "* /");
  const koffiLicense = readFileSync(join(root, "node_modules/koffi/LICENSE.txt"), "utf8");
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(
    file,
    [
      "#!/usr/bin/env node",
      '"use strict";',
      `// cprkit ${version}, Apache-2.0. Whose else work is in it stands at the end.`,
      // A scope of its own: the modules have names like these.
      "const { cprkitRequire, isExecutable, runProgram } = ((module) => {",
      `const PACKED = ${JSON.stringify(packed)};`,
      head,
      "return module.exports;",
      "})({});",
      output[0].code,
      `/*\n${licenses}\n${"-".repeat(72)}\n\nkoffi (MIT)\n\n${koffiLicense}\n*/\n`,
    ].join("\n"),
  );
  chmodSync(file, 0o755);
}

/** What is run: the command line, or one of the two programs that it starts for itself. */
const entry = {
  name: "entry",
  resolveId: (id) => (id === "cprkit-entry" ? id : undefined),
  load: (id) =>
    id === "cprkit-entry"
      ? `
import { run } from ${JSON.stringify(join(root, "dist/cli/main.js"))};
const words = process.argv.slice(2);
const at = words.indexOf("--demo-process");
if (isExecutable && words[0] === "-e") runProgram(words[1], words.slice(2));
else if (at === 0 || (at === 1 && isExecutable)) void import(${JSON.stringify(join(root, "dist/cli/demo/new-process.js"))});
else void run(words).then((code) => { process.exitCode = code; });
`
      : undefined,
};

/** What the modules look for beside themselves is in the file, or is the file. */
const replacements = [
  ["createRequire(import.meta.url)", "cprkitRequire"],
  ['readFileSync(new URL("../../package.json", import.meta.url), "utf8")', JSON.stringify(JSON.stringify({ version }))],
  ['fileURLToPath(new URL("./new-process.js", import.meta.url))', "__filename"],
  [
    'install it next to cprkit with "npm install koffi@3.3.4", without --omit=optional',
    "XDG_CACHE_HOME may name a folder of your own for it, from which programs may be run",
  ],
  // The fleet's package would be beside the file.
  [
    'new URL("../../../../", import.meta.url)',
    'require("node:url").pathToFileURL(require("node:path").join(__dirname, "cprkit/"))',
  ],
  ['readFileSync(new URL("../../web/inspect.html", import.meta.url), "utf8")', embeddedPage],
];

/** The inspector's page, and how it is read there. */
function embeddedPage() {
  const packed = brotliCompressSync(readFileSync(join(root, "dist/web/inspect.html"))).toString("base64");
  return `require("node:zlib").brotliDecompressSync(Buffer.from("${packed}", "base64")).toString()`;
}

const places = {
  name: "places",
  transform(code, id) {
    if (!code.includes("import.meta.url")) return undefined;
    const changed = replacements.reduce(
      (text, [from, to]) => text.replaceAll(from, () => (typeof to === "string" ? to : to())),
      code,
    );
    if (changed.includes("import.meta.url")) throw new Error(`${id} looks for a file beside itself: see single.mjs`);
    return { code: changed };
  },
};

/**
 * koffi's files by their places below a folder: its loader, the file by which that finds the libraries, and these.
 *
 * @param {boolean} musl @returns {(readonly [place: string, path: string])[]}
 */
export function koffiFiles(musl) {
  const base = join(root, "node_modules/koffi");
  const own = join(base, `../@koromix/koffi-linux-${process.arch}`);
  const kinds = readdirSync(own).filter((name) => name.startsWith("linux_") || (musl && name.startsWith("musl_")));
  return [
    ["src/koffi/index.cjs", join(base, "src/koffi/index.cjs")],
    ["src/koffi/src/static.cjs", fileURLToPath(new URL("koffi-static.cjs", import.meta.url))],
    ...kinds.map((kind) => [`build/koffi/${kind}/koffi.node`, join(own, kind, "koffi.node")]),
  ];
}

function packedKoffi(musl) {
  const files = koffiFiles(musl).map(([place, path]) => {
    const bytes = readFileSync(path);
    return [place, { sha256: sha256(bytes), data: compressed(bytes) }];
  });
  return Object.fromEntries(files);
}

function compressed(bytes) {
  // The best quality takes seconds more, and saves a tenth.
  const params = {
    [constants.BROTLI_PARAM_QUALITY]: 9,
    [constants.BROTLI_PARAM_LGWIN]: 24,
    [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
  };
  return brotliCompressSync(bytes, { params }).toString("base64");
}

function sha256(bytes) {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Whether a file was made after everything that it is made from. @param {string} file @returns {boolean} */
export function isCurrent(file) {
  if (!existsSync(file)) return false;
  const made = statSync(file).mtimeMs;
  const sources = [
    join(root, "dist/cli/bundle/index.json"),
    ...readdirSync(dirname(fileURLToPath(import.meta.url))).map((name) =>
      fileURLToPath(new URL(name, import.meta.url)),
    ),
  ];
  return sources.every((source) => statSync(source).mtimeMs < made);
}
