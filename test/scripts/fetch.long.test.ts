// Downloads that break off, or come damaged: said in one line, and the next run goes on. From Debian's
// mirror, through a server here that spoils what it passes on.

import { createHash } from "node:crypto";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, get as getHttp, type IncomingMessage, type Server } from "node:http";
import { get as getHttps } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { debianMirror, downloadPackages, preparePrivateApt, resolvePackages } from "../../scripts/qemu/debian.mjs";
import { privateDir } from "../support/vm.ts";

/** What is done to a package's bytes on their way. */
let fault: "none" | "cut off" | "damaged" = "none";
/** The packages that were asked for. */
let asked: string[] = [];
let server: Server;
const dir = privateDir();
let config = "";
let hello: Awaited<ReturnType<typeof resolvePackages>> = [];

beforeAll(async () => {
  const mirror = debianMirror();
  const get = mirror.startsWith("https:") ? getHttps : getHttp;
  server = createServer((request, response) => {
    const { range, "if-range": ifRange } = request.headers;
    const path = (request.url ?? "").replace(/^\/debian/, "");
    const isPackage = path.endsWith(".deb");
    if (isPackage) asked.push(path);
    const headers = { ...(range && { range }), ...(ifRange && { "if-range": ifRange as string }) };
    const pass = (answer: IncomingMessage) => {
      const parts: Buffer[] = [];
      answer.on("data", (part: Buffer) => parts.push(part));
      answer.on("end", () => {
        const bytes = Buffer.concat(parts);
        const { connection: _, "transfer-encoding": __, ...all } = answer.headers;
        response.writeHead(answer.statusCode ?? 502, { ...all, "content-length": bytes.length });
        if (isPackage && fault === "damaged") bytes.fill(0x55, bytes.length >> 1);
        if (isPackage && fault === "cut off") {
          response.write(bytes.subarray(0, bytes.length >> 1), () => response.destroy());
        } else response.end(bytes);
      });
    };
    get(`${mirror}${path}`, { headers }, pass).on("error", () => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  process.env["CPRKIT_DEBIAN_MIRROR"] = `http://127.0.0.1:${(server.address() as AddressInfo).port}/debian`;
  config = await preparePrivateApt(join(dir, "apt"), ["bookworm"]);
  hello = (await resolvePackages(config, dir, ["hello"], "bookworm")).filter(({ name }) => name === "hello");
}, 300_000);

afterAll(() => {
  server?.closeAllConnections();
  server?.close();
  rmSync(dir, { recursive: true, force: true });
});

beforeEach(() => {
  [fault, asked] = ["none", []];
});

/** Downloads into a folder. @returns the file's hash */
async function download(into: string): Promise<string> {
  await downloadPackages(config, into, hello, () => {});
  return createHash("sha256")
    .update(readFileSync(join(into, hello[0]?.file ?? "")))
    .digest("hex");
}

it("knows the package's hash from the signed lists", () => {
  expect(hello).toEqual([expect.objectContaining({ name: "hello", sha256: expect.stringMatching(/^[0-9a-f]{64}$/) })]);
});

it("one that breaks off is said, and fetched anew by the next run", { timeout: 300_000 }, async () => {
  fault = "cut off";
  const into = join(dir, "cut");
  await expect(download(into)).rejects.toThrow(
    "the download failed (packages that have come are kept: run this again to go on)",
  );
  expect(asked.length).toBeGreaterThan(1);
  fault = "none";
  expect(await download(into)).toBe(hello[0]?.sha256);
});

it("one that comes damaged is said, and fetched anew", { timeout: 300_000 }, async () => {
  fault = "damaged";
  const into = join(dir, "damaged");
  await expect(download(into)).rejects.toThrow(/Hash Sum mismatch|came damaged/);
  fault = "none";
  expect(await download(into)).toBe(hello[0]?.sha256);
});

it("a file that is there already, of the right size and wrong, is fetched anew", async () => {
  const into = join(dir, "wrong");
  await download(into);
  const file = join(into, hello[0]?.file ?? "");
  const bytes = readFileSync(file);
  writeFileSync(file, bytes.fill(0x55, bytes.length >> 1));
  expect(await download(into)).toBe(hello[0]?.sha256);
});

it("one that is there and right is not asked for", async () => {
  const into = join(dir, "whole");
  await download(into);
  asked = [];
  expect(await download(into)).toBe(hello[0]?.sha256);
  expect(asked).toEqual([]);
});

it("a proxy that is not there is named", { timeout: 300_000 }, async () => {
  const before = process.env["http_proxy"];
  process.env["http_proxy"] = "http://127.0.0.1:9";
  try {
    process.env["CPRKIT_DEBIAN_MIRROR"] = "http://mirror.invalid/debian";
    await expect(preparePrivateApt(join(dir, "proxied"), ["bookworm"])).rejects.toThrow("127.0.0.1");
  } finally {
    if (before === undefined) delete process.env["http_proxy"];
    else process.env["http_proxy"] = before;
  }
});
