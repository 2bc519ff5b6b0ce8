// 4 GiB: the devices are there before guest RAM is read, and the file is never in memory.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeBrowser } from "../support/browser.ts";
import { heapOf } from "./heap.ts";
import { type Inspector, openInspector } from "./inspector.ts";
import { type LargeStream, writeLargeStream } from "./large-stream.ts";

const mib = 2 ** 20;

describeBrowser("a stream of 4 GiB", (open) => {
  const folder = mkdtempSync(join(tmpdir(), "cprkit-large-"));
  const path = join(folder, "large.mig");
  let stream: LargeStream;
  let inspector: Inspector;
  beforeAll(async () => {
    stream = writeLargeStream(path, 4682);
    inspector = await openInspector(await open());
  });
  afterAll(async () => {
    await inspector?.page.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test("shows its devices first, in little memory; RAM is read behind, and can be given up and begun again", async () => {
    expect(stream.size).toBeGreaterThan(4 * 1024 * mib);
    const { page } = inspector;
    await inspector.give(path);
    // RAM is still being read: the devices did not wait for it.
    const read = Number(await page.locator("progress").getAttribute("value"));
    expect(read).toBeLessThan(stream.size / 2);
    const took = (await page.locator("dl.facts").first().textContent())?.match(/shown after(\d+ ms)/)?.[1];
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.getByText("Guest RAM was not read to its end").waitFor();
    await page.getByRole("tab", { name: "Devices" }).click();
    expect(await page.locator(".count").first().textContent()).toBe(`${stream.devices.length + 1} sections`);
    const heap = await heapOf(page);
    console.log(`4 GiB: devices after ${took}, heap ${Math.round(heap / mib)} MiB (the page's and the worker's)`);
    expect(heap).toBeLessThan(200 * mib);
    // A field of a device behind 4 GiB, and its bytes.
    await page.getByRole("searchbox").fill("base_rtc");
    await page.locator("#tree [role=treeitem]", { hasText: "base_rtc" }).click();
    await page.locator("#fields [aria-selected=true]", { hasText: "base_rtc" }).waitFor();
    await page.locator("#device-bytes .marked").first().waitFor();
    await page.getByRole("searchbox").fill("");
    await page.getByRole("tab", { name: "Overview" }).click();
    await page.getByRole("button", { name: "Read guest RAM" }).click();
    await page.locator("progress").waitFor();
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.getByText("Guest RAM was not read to its end").waitFor();
    expect(inspector.errors).toEqual([]);
  });

  test("the bytes scroll from the first to the last", async () => {
    const { page } = inspector;
    await page.getByRole("tab", { name: "Bytes" }).click();
    await page.locator("#bytes").focus();
    await page.keyboard.press("Control+End");
    await page.locator(`#bytes-b${stream.size - 1}:has-text("7d")`).waitFor();
    await page.keyboard.press("Control+Home");
    await page.locator('#bytes-b0:has-text("51")').waitFor();
    // The bar stands for the whole: its middle is the file's.
    await page.evaluate(
      "(() => { const g = document.querySelector('#bytes'); g.scrollTop = (g.scrollHeight - g.clientHeight) / 2; })()",
    );
    await expect
      .poll(async () => Number(await page.locator("#bytes [data-at]").first().getAttribute("data-at")))
      .toBeGreaterThan(stream.size * 0.45);
    expect(inspector.errors).toEqual([]);
  });
});
