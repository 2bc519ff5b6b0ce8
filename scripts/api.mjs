// The public API as text, one report per subpath of the package, from the declarations in dist/. `npm run api` writes
// the reports to docs/api/; test/guards/api.test.ts compares them, so that review sees what a change does to users.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Extractor, ExtractorConfig } from "@microsoft/api-extractor";

const root = fileURLToPath(new URL("..", import.meta.url));

/**
 * The subpaths of package.json with the declarations they give, such as { name: "vmstate", types: "dist/vmstate/index.d.ts" }.
 *
 * @returns {{ name: string, types: string }[]}
 */
export function publicSubpaths() {
  const { exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  return Object.entries(exports).flatMap(([path, { types }]) =>
    types === undefined ? [] : [{ name: path === "." ? "cprkit" : path.slice(2), types }],
  );
}

/**
 * @param {{ name: string, types: string }} subpath
 * @returns {{ text: string, model: string, undocumented: string[], notExported: string[] }} the report; the same with all
 * docstrings, as JSON; the exports without a docstring; the types that an export names, and that this subpath does not
 * export
 */
export function apiReport({ name, types }) {
  const folder = mkdtempSync(join(tmpdir(), "cprkit-api-"));
  const notExported = [];
  const problems = [];
  try {
    mkdirSync(join(folder, "temp"));
    const config = ExtractorConfig.prepare({
      configObject: {
        projectFolder: root,
        mainEntryPointFilePath: join(root, types),
        compiler: {
          overrideTsconfig: {
            compilerOptions: {
              module: "nodenext",
              target: "es2022",
              lib: ["es2023", "esnext.disposable"],
              types: ["node"],
              strict: true,
              skipLibCheck: true,
              allowImportingTsExtensions: true,
              noEmit: true,
            },
            files: [join(root, types)],
          },
        },
        apiReport: {
          enabled: true,
          reportFolder: folder,
          reportTempFolder: join(folder, "temp"),
          reportFileName: name,
        },
        docModel: { enabled: true, apiJsonFilePath: join(folder, "model.json") },
        dtsRollup: { enabled: false },
        tsdocMetadata: { enabled: false },
        messages: {
          compilerMessageReporting: { default: { logLevel: "error" } },
          extractorMessageReporting: {
            default: { logLevel: "none" },
            "ae-forgotten-export": { logLevel: "warning", addToApiReportFile: false },
          },
          tsdocMessageReporting: { default: { logLevel: "none" } },
        },
      },
      packageJsonFullPath: join(root, "package.json"),
      configObjectFullPath: undefined,
    });
    Extractor.invoke(config, {
      localBuild: true,
      messageCallback: (message) => {
        message.handled = true;
        const forgotten = /^The symbol "(.*)" needs to be exported/.exec(message.text)?.[1];
        if (message.messageId === "ae-forgotten-export" && forgotten !== undefined) notExported.push(forgotten);
        else if (message.logLevel === "error") problems.push(message.text);
      },
    });
    if (problems.length > 0) throw new Error(`${types}: ${problems.join("; ")}`);
    const text = readFileSync(join(folder, `${name}.api.md`), "utf8").replaceAll("\r\n", "\n");
    const undocumented = [...text.matchAll(/^\/\/ @public \(undocumented\)\n(?:export )?(.*)$/gm)].map(
      ([, line]) => line,
    );
    const model = readFileSync(join(folder, "model.json"), "utf8");
    return { text, model, undocumented, notExported };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  mkdirSync(join(root, "docs/api"), { recursive: true });
  for (const subpath of publicSubpaths()) {
    writeFileSync(join(root, `docs/api/${subpath.name}.api.md`), apiReport(subpath).text);
  }
}
