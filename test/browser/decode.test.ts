// The pure folders in a real browser: bundled, loaded by a page in headless Chromium, decoding captures there.

import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { build, type Rolldown } from "vite";
import { afterAll, beforeAll, expect, test } from "vitest";
import { reportCprState } from "../../src/cpr/index.ts";
import { migrationToJson, readMigrationBytes } from "../../src/migration/index.ts";
import { accessibilityFindings, describeBrowser } from "../support/browser.ts";
import { repoRoot } from "../support/cli.ts";

const fixture = (name: string) => readFileSync(join(repoRoot, "test/fixtures", name));

const entry = `
  export { reportCprState } from ${JSON.stringify(join(repoRoot, "src/cpr/index.ts"))};
  export { migrationToJson, readMigrationBytes } from ${JSON.stringify(join(repoRoot, "src/migration/index.ts"))};
`;

const page = (
  decode: string,
) => `<!doctype html><html lang="en"><title>cprkit</title><main><h1>cprkit</h1><pre id="result">nothing yet</pre></main><script type="module">
  const result = document.getElementById("result");
  try {
    const { reportCprState, migrationToJson, readMigrationBytes } = await import("/cprkit.js");
    const bytes = new Uint8Array(await (await fetch("/capture")).arrayBuffer());
    result.textContent = encodeURIComponent(JSON.stringify(${decode}));
  } catch (error) {
    result.textContent = encodeURIComponent(String(error));
  }
</script>`;

async function bundle(): Promise<string> {
  const id = "virtual:entry";
  const result = await build({
    configFile: false,
    logLevel: "silent",
    plugins: [
      { name: "entry", resolveId: (name) => (name === id ? id : null), load: (name) => (name === id ? entry : null) },
    ],
    build: { write: false, lib: { entry: id, formats: ["es"] }, rolldownOptions: { input: id } },
  });
  const [output] = result as Rolldown.RolldownOutput[];
  const chunk = output?.output[0];
  if (chunk?.type !== "chunk" || chunk.imports.length > 0) throw new Error("the bundle is not one file");
  return chunk.code;
}

describeBrowser("in headless Chromium", (open) => {
  let server: Server;
  let origin: string;
  let served: { capture: Buffer; decode: string };

  beforeAll(async () => {
    const code = await bundle();
    server = createServer(({ url }, response) => {
      if (url === "/") response.setHeader("content-type", "text/html").end(page(served.decode));
      else if (url === "/cprkit.js") response.setHeader("content-type", "text/javascript").end(code);
      else if (url === "/capture") response.end(served.capture);
      else response.writeHead(404).end();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  });

  afterAll(() => new Promise((resolve) => server.close(resolve)));

  async function decodedInBrowser(capture: Buffer, decode: string): Promise<unknown> {
    served = { capture, decode };
    const tab = await open();
    await tab.goto(origin);
    const result = tab.locator("#result").filter({ hasNotText: "nothing yet" });
    const text = (await result.textContent({ timeout: 50_000 })) ?? "";
    expect(await accessibilityFindings(tab)).toEqual([]);
    await tab.close();
    const decoded = decodeURIComponent(text);
    expect(decoded).toMatch(/^\{/);
    return JSON.parse(decoded);
  }

  test("a CPR state", async () => {
    const capture = fixture("cpr/q35-540-10.0.bin");
    expect(await decodedInBrowser(capture, "reportCprState({ bytes })")).toEqual(
      JSON.parse(JSON.stringify(reportCprState({ bytes: capture }))),
    );
  });

  test("a migration stream, with the state of every device", async () => {
    const capture = fixture("migration/cpr-main-microvm-10.0.mig");
    const here = JSON.parse(JSON.stringify(migrationToJson(readMigrationBytes(capture))));
    expect(await decodedInBrowser(capture, "migrationToJson(readMigrationBytes(bytes))")).toEqual(here);
    expect(here.sections.length).toBeGreaterThan(10);
  });
});
