// Everything without a mouse: from the empty page to a copied value, to bytes, RAM, and a comparison.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { FileChooser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readMigrationBytes } from "../../src/migration/index.ts";
import { hasAllCaptures, listMigrationCaptures } from "../migration/captures.ts";
import { describeBrowser } from "../support/browser.ts";
import { repoRoot } from "../support/cli.ts";
import { type Inspector, isOpen, openInspector } from "./inspector.ts";

const fixture = (name: string) => join(repoRoot, "test/fixtures", name);
const firmware = fixture("migration/cpr-main-pc-firmware-11.1.mig");
const nvme = fixture("migration/cpr-main-pc-linux-nvme-11.1.mig");

describeBrowser("the inspector's page by keyboard alone", (open) => {
  let inspector: Inspector;
  let onChooser: (chooser: FileChooser) => void = () => {};
  const press = async (...keys: readonly string[]): Promise<void> => {
    for (const key of keys) await inspector.page.keyboard.press(key);
  };
  /** Presses Tab until the element has the focus: it can be reached. */
  const tabTo = async (selector: string): Promise<void> => {
    for (let tries = 0; tries < 40; tries++) {
      const isThere = await inspector.page.evaluate(`document.activeElement.matches(${JSON.stringify(selector)})`);
      if (isThere === true) return;
      await press("Tab");
    }
    throw new Error(`Tab does not lead to ${selector}`);
  };
  const chosen = async (files: readonly string[]): Promise<void> => {
    const shown = new Promise<FileChooser>((resolve) => {
      onChooser = resolve;
    });
    await press("o");
    await (await shown).setFiles([...files]);
    await isOpen(
      inspector.page,
      files.map((path) => path.slice(path.lastIndexOf("/") + 1)),
    );
  };
  beforeAll(async () => {
    const page = await open();
    // Listening all the time: when listening begins, the browser hears of it only a moment later.
    page.on("filechooser", (chooser) => onChooser(chooser));
    inspector = await openInspector(page);
  });
  afterAll(() => inspector?.page.close());

  test("opens a file, finds a field, copies it, and sees its bytes", async () => {
    const { page } = inspector;
    await chosen([firmware]);
    await press("2", "/");
    await page.keyboard.type("base_rtc");
    await press("Enter");
    await expect.poll(() => page.evaluate("document.activeElement.id")).toBe("tree");
    await press("Home", "ArrowDown");
    const selected = page.locator("#fields [aria-selected=true]");
    await selected.filter({ hasText: "base_rtc" }).waitFor();
    await tabTo("#fields");
    for (const [key, wanted] of [
      ["p", "mc146818rtc: base_rtc"],
      ["x", /^0x[\da-f]+$/],
      ["j", /"name": "base_rtc"/],
      ["a", /section=mc146818rtc&field=base_rtc/],
      ["v", /\(0x[\da-f]+\)$/],
    ] as const) {
      await press(key);
      await expect.poll(() => page.evaluate("globalThis.lastCopied")).toMatch(wanted);
    }
    await press("ArrowDown");
    await selected.filter({ hasText: "last_update" }).waitFor();
    await tabTo("#device-bytes");
    const before = await page.evaluate("document.activeElement.getAttribute('aria-activedescendant')");
    await press("ArrowDown", "ArrowLeft");
    await expect
      .poll(() => page.evaluate("document.activeElement.getAttribute('aria-activedescendant')"))
      .not.toBe(before);
  });

  test("opens and closes in the tree, and goes through the bytes", async () => {
    const { page } = inspector;
    await press("/", "Control+A", "Delete");
    await tabTo("#tree");
    await press("Home");
    const open_ = page.locator("#tree [aria-selected=true]");
    for (let tries = 0; tries < 60 && (await open_.getAttribute("aria-expanded")) === null; tries++)
      await press("ArrowDown");
    expect(await open_.getAttribute("aria-expanded")).toBe("false");
    await press("ArrowRight");
    await expect.poll(() => open_.getAttribute("aria-expanded")).toBe("true");
    await press("ArrowDown");
    await expect.poll(() => open_.getAttribute("aria-level")).toBe("2");
    await press("ArrowLeft", "ArrowLeft");
    await expect.poll(() => open_.getAttribute("aria-expanded")).toBe("false");
    await page.keyboard.press("Escape");
    await press("3");
    await tabTo("#bytes");
    await press("Control+End");
    await page.locator("#bytes .cursor:has-text('7d')").waitFor();
    await press("Control+Home", "PageDown", "ArrowRight");
    expect(Number(await page.locator("#bytes .cursor").getAttribute("data-at")) % 16).toBe(1);
    await tabTo("input[name=offset]");
    await page.keyboard.type("0x10");
    await press("Enter");
    await page.locator("#bytes-b16.cursor").waitFor();
    const [value = ""] = await page.locator("table.plain td").allTextContents();
    expect(Number(value)).toBe(readFileSync(firmware)[16]);
  });

  test("tabs, keys, theme", async () => {
    const { page } = inspector;
    // Letters are not keys where one types.
    await tabTo("[role=tab]");
    await press("?");
    const dialog = page.getByRole("dialog", { name: "Keys" });
    await dialog.waitFor();
    await press("Escape");
    await dialog.waitFor({ state: "hidden" });
    await press("t");
    const first = await page.evaluate("document.documentElement.dataset.theme");
    await press("t");
    expect(await page.evaluate("document.documentElement.dataset.theme")).not.toBe(first);
    await tabTo("[role=tab]");
    await press("Home", "ArrowRight");
    expect(await page.getByRole("tab", { selected: true }).textContent()).toBe("Devices");
    await press("End");
    expect(await page.getByRole("tab", { selected: true }).textContent()).toBe("Compare");
  });

  test("goes through a map of RAM to a page's bytes", async () => {
    const { page } = inspector;
    const capture = listMigrationCaptures().find(({ name }) => name === "microvm-10.0");
    if (!hasAllCaptures || capture === undefined) {
      console.warn("skipped: the map of RAM: the shared captures with RAM are missing");
      return;
    }
    await page.setInputFiles("#files", { name: "ram.mig", mimeType: "", buffer: Buffer.from(capture.bytes) });
    await isOpen(page, ["ram.mig"]);
    await press("4");
    const { ram } = readMigrationBytes(capture.bytes);
    await tabTo("canvas");
    await press("End");
    const last = Math.ceil((ram?.blocks[0]?.usedLength ?? 0) / 4096) - 1;
    await page.getByText(`Page ${last.toLocaleString("en")} at`).waitFor();
    await press("Tab");
    await expect.poll(() => page.evaluate("location.hash")).toMatch(new RegExp(`view=ram&block=[^&]+&page=${last}$`));
    await tabTo("canvas");
    await press("Home", "+", "+");
    await page.getByText("a cell a page").waitFor();
    await page.getByText("Page 0 at 0x0: data").waitFor();
    await page.locator("#page-bytes [role=row]").first().waitFor();
    await press("-");
    await page.getByText("4 pages a cell").waitFor();
    await tabTo("#page-bytes");
    await tabTo("#blocks");
    await press("End", "Home");
  });

  test("compares two files, and reads why", async () => {
    const { page } = inspector;
    await chosen([nvme, firmware]);
    await tabTo("summary");
    await press("Enter");
    await page.locator("details[open] dd").first().waitFor();
    await tabTo("#differences");
    await press("End");
    await page.locator("#differences [aria-selected=true]").waitFor();
    await tabTo("details.log summary");
    await press("Enter");
    await tabTo("textarea");
    await page.keyboard.insertText(
      "Unknown section or instance '0000:00:03.0/nvme' 0\nload of migration failed: Invalid argument\n",
    );
    await tabTo(".log button");
    await press("Enter");
    await page.locator(".log dd", { hasText: "unknown-section" }).waitFor();
    expect(inspector.errors).toEqual([]);
  });
});
