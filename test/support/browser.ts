// For tests that need a real browser: headless Chromium as `npm run qemu` fetches it, driven by Playwright, and axe for
// what people with a screen reader, a keyboard or little contrast would stumble over.

import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import axe from "axe-core";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cacheDir } from "./cache-dir.ts";

/** Path of the browser, or undefined when there is none. CPRKIT_CHROMIUM names another. */
const chromiumPath = [
  process.env["CPRKIT_CHROMIUM"],
  join(cacheDir(), "chromium/chromium-headless-shell"),
  "/usr/bin/chromium",
].find((path) => path !== undefined && existsSync(path));

const missing = "Chromium is missing: run `npm run qemu`, or set CPRKIT_CHROMIUM";

/** Sizes of screens, in CSS pixels. */
export const screens = {
  phone: { width: 390, height: 844 },
  desktop: { width: 1280, height: 800 },
} as const;

/**
 * A suite that needs the browser. Without one it is skipped and the reason printed; with CPRKIT_REQUIRE_QEMU=1 it fails.
 *
 * @param body gets what opens a page on a screen; the page is closed after the suite
 */
export function describeBrowser(
  name: string,
  body: (open: (screen?: keyof typeof screens) => Promise<Page>) => void,
): void {
  if (chromiumPath === undefined) {
    console.warn(`skipped: ${name}: ${missing}`);
    if (process.env["CPRKIT_REQUIRE_QEMU"] === "1") test(`${name}: there is a browser`, () => expect.fail(missing));
  }
  const reason = chromiumPath === undefined ? ` [${missing}]` : "";
  describe.skipIf(chromiumPath === undefined)(`${name}${reason}`, () => {
    let browser: Browser;
    const folder = mkdtempSync(join(tmpdir(), "cprkit-browser-"));
    afterAll(() => rmSync(folder, { recursive: true, force: true }));
    beforeAll(async () => {
      browser = await chromium.launch({
        executablePath: chromiumPath as string,
        chromiumSandbox: false,
        env: { ...process.env, ...ownFonts(folder) },
        args: ["--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run"],
      });
    });
    afterAll(() => browser?.close());
    body((screen = "desktop") => browser.newPage({ viewport: screens[screen] }));
  });
}

/** The fonts that came with the browser, and no others: pages look alike everywhere, also where no font is installed. */
function ownFonts(folder: string): Record<string, string> {
  const fonts = join(cacheDir(), "chromium/root/usr/share/fonts");
  if (!existsSync(fonts)) return {};
  const file = join(folder, "fonts.conf");
  const lines = [`<dir>${fonts}</dir>`, `<cachedir>${join(folder, "cache")}</cachedir>`].join("");
  writeFileSync(file, `<?xml version="1.0"?><fontconfig>${lines}</fontconfig>\n`);
  return { FONTCONFIG_FILE: file };
}

/** What axe finds on the page as it is now: none is as it should be. Each with the first elements that it is about. */
export async function accessibilityFindings(page: Page): Promise<string[]> {
  await page.evaluate(axe.source);
  const found = await page.evaluate(async () => {
    const { violations } = await (globalThis as unknown as { readonly axe: typeof import("axe-core") }).axe.run();
    return violations.map(({ id, help, nodes }) => ({ id, help, nodes: nodes.slice(0, 3).map(({ html }) => html) }));
  });
  return found.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.join(" | ")}`);
}
