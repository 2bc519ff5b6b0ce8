// What takes longer of large streams: all of guest RAM, and a compressed one that is given up.

import { createWriteStream, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bytes, configuration, header } from "../migration/build.ts";
import { describeBrowser } from "../support/browser.ts";
import { heapOf } from "./heap.ts";
import { type Inspector, openInspector } from "./inspector.ts";
import { writeLargeStream } from "./large-stream.ts";

const mib = 2 ** 20;

describeBrowser("all of a large stream", (open) => {
  const folder = mkdtempSync(join(tmpdir(), "cprkit-large-"));
  let inspector: Inspector;
  beforeAll(async () => {
    inspector = await openInspector(await open());
  });
  afterAll(async () => {
    await inspector?.page.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test("4 GiB of guest RAM are read in little memory; the map has every page, and each its bytes", async () => {
    const { page } = inspector;
    const pages = 4682;
    const path = join(folder, "large.mig");
    const { size } = writeLargeStream(path, pages);
    await inspector.give(path);
    const start = performance.now();
    const whileReading = await heapOf(page);
    expect(whileReading).toBeLessThan(200 * mib);
    await page.locator("progress").waitFor({ state: "detached", timeout: 300_000 });
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    const heap = await heapOf(page);
    const [during, after] = [whileReading, heap].map((one) => Math.round(one / mib));
    console.log(
      `${(size / 2 ** 30).toFixed(1)} GiB read in ${seconds} s, heap ${during} MiB meanwhile, ${after} after`,
    );
    expect(heap).toBeLessThan(200 * mib);
    await page.getByRole("tab", { name: "RAM" }).click();
    const zeros = Math.floor(pages / 8);
    await page.getByText(`${(pages - zeros).toLocaleString("en")} with data, ${zeros} of zeros`).waitFor();
    await page.locator("canvas").focus();
    await page.keyboard.press("End");
    // Each page begins with its number.
    await page.locator("#page-bytes-b3", { hasText: ((pages - 1) & 0xff).toString(16).padStart(2, "0") }).waitFor();
    expect(await page.locator("#page-bytes").getAttribute("aria-rowcount")).toBe(String(mib / 16));
    expect(inspector.errors).toEqual([]);
  }, 360_000);

  test("a compressed stream that has no end is given up", async () => {
    const { page } = inspector;
    const path = join(folder, "endless.mig.gz");
    const zeros = Buffer.alloc(mib);
    const content = function* () {
      yield bytes(header, configuration("m"));
      for (let count = 0; count < 2048; count++) yield zeros;
    };
    await pipeline(Readable.from(content()), createGzip({ level: 1 }), createWriteStream(path));
    await page.setInputFiles("#files", path);
    await page.getByText("MiB unpacked").waitFor();
    await page.getByRole("button", { name: "Cancel" }).click();
    expect(await page.getByRole("alert").textContent()).toContain("given up");
    expect(inspector.errors).toEqual([]);
  }, 120_000);
});
