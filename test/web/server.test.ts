// cprkit web and inspect --web: who gets the page and the files, and who does not.

import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import { outputs } from "../../src/cli/schema/all.ts";
import { migrationToJson, readMigrationBytes } from "../../src/migration/index.ts";
import { describeBrowser } from "../support/browser.ts";
import { cprkit, repoRoot } from "../support/cli.ts";
import { isOpen, openInspector } from "./inspector.ts";
import { killServers, serve, serveWith } from "./serve.ts";

const capture = join(repoRoot, "test/fixtures/migration/cpr-main-microvm-10.0.mig");
const stream = readFileSync(capture);
const name = "cpr-main-microvm-10.0.mig";

afterEach(killServers);

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: Buffer;
}

function get(
  url: URL,
  path: string,
  options: { method?: string; headers?: Record<string, string> } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = url;
    request({ hostname, port, path, agent: false, ...options }, (response) => {
      const parts: Buffer[] = [];
      response.on("data", (part: Buffer) => parts.push(part));
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(parts) }),
      );
      response.on("error", reject);
    })
      .on("error", reject)
      .end();
  });
}

describe("the server", () => {
  test("says its address, gives the page and ranges of the file there, and ends with Ctrl-C", async () => {
    const { child, ended, said, url } = await serve("web", capture);
    expect(() => outputs["web"]?.schema.parse(said)).not.toThrow();
    expect(said.opened).toBe(false);
    expect(url.hostname).toBe("127.0.0.1");
    expect(url.pathname).toMatch(/^\/[\w-]{43}\/$/);
    const page = await get(url, url.pathname);
    expect(page.status).toBe(200);
    const policy = String(page.headers["content-security-policy"]);
    expect(policy).toContain(`default-src 'none'; connect-src ${said.url};`);
    expect(policy).toContain("frame-ancestors 'none'");
    // The scripts are those that the policy names.
    const html = page.body.toString("utf8");
    const script = /<script>([\s\S]*?)<\/script>/.exec(html)?.[1] ?? "";
    expect(policy).toContain(createHash("sha256").update(script).digest("base64"));
    expect(page.headers).toMatchObject({ "cache-control": "no-store", "referrer-policy": "no-referrer" });
    const part = await get(url, `${url.pathname}file/0`, { headers: { range: "bytes=8-1007" } });
    expect([part.status, part.body.equals(stream.subarray(8, 1008))]).toEqual([206, true]);
    const rest = await get(url, `${url.pathname}file/0`, {
      headers: { range: `bytes=${stream.length - 4}-999999999` },
    });
    expect(rest.body.equals(stream.subarray(-4))).toBe(true);
    child.kill("SIGINT");
    expect(await ended).toBe(0);
    await expect(get(url, url.pathname)).rejects.toThrow();
  });

  test("gives nothing without the token, under another host's name, to another page, or by another method", async () => {
    const { url } = await serve("web", capture, capture);
    const token = url.pathname.slice(1, -1);
    const range = { range: "bytes=0-7" };
    const statuses = async (path: string, options: Parameters<typeof get>[2] = {}) => {
      const { status, body } = await get(url, path, options);
      return [status, body.length];
    };
    for (const path of [
      "/",
      "/file/0",
      `/${token.slice(1)}/file/0`,
      `/${token}x/file/0`,
      `//file/0`,
      `/x/${token}/file/0`,
    ]) {
      expect([path, await statuses(path, { headers: range })]).toEqual([path, [404, 0]]);
    }
    for (const path of ["file/2", "file/0/..", "file/%2e%2e", "../", "etc/passwd", "vm", "file/00", "file/-1"]) {
      expect([path, await statuses(`/${token}/${path}`, { headers: range })]).toEqual([path, [404, 0]]);
    }
    for (const host of ["evil.example", `localhost:${url.port}`, `evil.example:${url.port}`, "127.0.0.1"]) {
      expect([host, await statuses(url.pathname, { headers: { host } })]).toEqual([host, [403, 0]]);
    }
    for (const site of ["cross-site", "same-site"]) {
      expect(await statuses(url.pathname, { headers: { "sec-fetch-site": site } })).toEqual([403, 0]);
    }
    for (const method of ["POST", "PUT", "DELETE", "OPTIONS"]) {
      expect([method, (await get(url, url.pathname, { method })).status]).toEqual([method, 405]);
    }
    for (const bad of [
      "",
      "bytes=7-0",
      "bytes=-8",
      "bytes=0-",
      "bytes=99999999-999999999",
      "bytes=0-1,4-5",
      "lines=0-1",
    ]) {
      expect([bad, await statuses(`/${token}/file/1`, { headers: { range: bad } })]).toEqual([bad, [416, 0]]);
    }
  });

  test("without a file the page may connect to nothing", async () => {
    const { url } = await serve("web");
    const { headers, body } = await get(url, url.pathname);
    expect(String(headers["content-security-policy"])).toContain("default-src 'none'; connect-src 'none';");
    expect(body.toString("utf8")).toContain("connect-src 'none'");
  });

  test("the browser is opened where there is a desktop, with the address", async () => {
    const folder = mkdtempSync(join(tmpdir(), "cprkit-browser-"));
    try {
      // The system's own way to open an address, which notes what it is given.
      writeFileSync(
        join(folder, "xdg-open"),
        `#!/bin/sh\nprintf %s "$1" > "${folder}/part" && mv "${folder}/part" "${folder}/opened"\n`,
      );
      chmodSync(join(folder, "xdg-open"), 0o755);
      const desktop = { DISPLAY: ":99", SSH_CONNECTION: undefined, PATH: `${folder}:${process.env["PATH"]}` };
      const { said } = await serveWith(desktop, "web");
      expect(said.opened).toBe(true);
      await expect.poll(() => existsSync(join(folder, "opened")), { timeout: 20_000 }).toBe(true);
      expect(readFileSync(join(folder, "opened"), "utf8")).toBe(said.url);
      expect((await serveWith({ ...desktop, SSH_CONNECTION: "1.2.3.4" }, "web")).said.opened).toBe(false);
      expect((await serveWith(desktop, "web", "--no-browser")).said.opened).toBe(false);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test("two servers have two addresses", async () => {
    const [one, two] = [await serve("web"), await serve("inspect", capture, "--web")];
    expect(one.url.pathname).not.toBe(two.url.pathname);
    expect((await get(two.url, one.url.pathname)).status).toBe(404);
  });

  test("what cannot be served is said", () => {
    expect(cprkit(["web", "/nowhere.mig"])).toMatchObject({ code: 4, stderr: expect.stringContaining("no such file") });
    expect(cprkit(["web", "-"])).toMatchObject({ code: 2, stderr: expect.stringContaining("not a file") });
    expect(cprkit(["web", "/dev/null"])).toMatchObject({ code: 2, stderr: expect.stringContaining("not a file") });
    expect(cprkit(["web", capture, capture, capture])).toMatchObject({ code: 2 });
    expect(cprkit(["inspect", "--web"])).toMatchObject({ code: 2, stderr: expect.stringContaining("nothing to show") });
    expect(cprkit(["inspect", capture, "--web", "--hex"])).toMatchObject({ code: 2 });
    expect(cprkit(["web", "--qemu", "/bin/true"])).toMatchObject({ code: 2 });
  });
});

describeBrowser("the served page", (open) => {
  const pages: Awaited<ReturnType<typeof open>>[] = [];
  afterAll(async () => {
    for (const page of pages) await page.close();
  });

  test("opens the file by itself, goes where it was told, and asks its own server alone", async () => {
    const { said } = await serve("inspect", capture, "--web", "--section", "timer", "--field", "cpu_ticks_offset");
    const page = await open();
    pages.push(page);
    const inspector = await openInspector(page, said.url);
    await isOpen(page, [name]);
    await page.locator("#fields [aria-selected=true]", { hasText: "cpu_ticks_offset" }).waitFor();
    expect(await page.locator(".heading h2").first().textContent()).toBe("timer");
    await page.getByRole("tab", { name: "Overview" }).click();
    expect(JSON.parse(await inspector.copied("Copy all as JSON"))).toEqual(
      JSON.parse(JSON.stringify(migrationToJson(readMigrationBytes(stream)))),
    );
    const own = inspector.requests.filter((url) => url.startsWith(said.url));
    expect(own).toContain(`${said.url}file/0`);
    const others = inspector.requests.filter((url) => !url.startsWith(said.url));
    expect(others.every((url) => url.startsWith(`blob:${new URL(said.url).origin}/`))).toBe(true);
    // The server's other addresses are closed to it, too.
    const tried = `fetch(${JSON.stringify(`${new URL(said.url).origin}/other`)}).then(() => "sent", (error) => String(error))`;
    expect(await page.evaluate(tried)).toContain("Failed to fetch");
    expect(inspector.errors).toEqual([]);
  });

  test("two files are compared at once", async () => {
    const { said } = await serve("web", capture, capture);
    const page = await open();
    pages.push(page);
    const inspector = await openInspector(page, said.url);
    await page.getByText("0 differences").waitFor();
    expect(await page.getByRole("region", { name: "Verdict" }).textContent()).toContain("Nothing is in the way");
    expect(inspector.errors).toEqual([]);
  });
});
