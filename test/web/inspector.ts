// The inspector's page in a browser, as a user has it: opened as a file, files given to it, keys pressed.

import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Page } from "playwright-core";
import { expect } from "vitest";
import { repoRoot } from "../support/cli.ts";

export const pagePath = join(repoRoot, "dist/web/inspect.html");

export interface Inspector {
  readonly page: Page;
  /** Everything that was asked for, the page itself and its worker too. */
  readonly requests: readonly string[];
  /** Errors that nobody caught. */
  readonly errors: readonly string[];
  /** Gives files to the page and waits until they are open, or refused. */
  give(...paths: readonly string[]): Promise<void>;
  /** What a click on this button copies. */
  copied(button: string): Promise<string>;
  /** SHA-256 of that: some MiB take long from one process to the other. */
  copiedDigest(button: string): Promise<string>;
  /** Goes to an address, as if it were pasted. */
  goTo(hash: string): Promise<void>;
}

/** Opens the page at `url`, the built file by default. */
export async function openInspector(page: Page, url = pathToFileURL(pagePath).href): Promise<Inspector> {
  const requests: string[] = [];
  const errors: string[] = [];
  page.on("request", (request) => requests.push(request.url()));
  page.on("pageerror", (error) => errors.push(String(error.stack ?? error)));
  await page.goto(url);
  await page.evaluate(
    "navigator.clipboard.writeText = async (text) => { globalThis.lastCopied = text; globalThis.copies = (globalThis.copies ?? 0) + 1; }",
  );
  const click = async (button: string): Promise<void> => {
    const before = await page.evaluate("globalThis.copies ?? 0");
    await page.getByRole("button", { name: button, exact: true }).click();
    await expect
      .poll(() => page.evaluate("globalThis.copies ?? 0"), { timeout: 30_000, interval: 10 })
      .not.toBe(before);
  };
  return {
    page,
    requests,
    errors,
    give: async (...paths) => {
      await page.setInputFiles("#files", [...paths]);
      await isOpen(
        page,
        paths.map((path) => path.slice(path.lastIndexOf("/") + 1)),
      );
    },
    copied: async (button) => {
      await click(button);
      return String(await page.evaluate("globalThis.lastCopied"));
    },
    copiedDigest: async (button) => {
      await click(button);
      return String(
        await page.evaluate(
          "crypto.subtle.digest('SHA-256', new TextEncoder().encode(globalThis.lastCopied)).then((all) => [...new Uint8Array(all)].map((byte) => byte.toString(16).padStart(2, '0')).join(''))",
        ),
      );
    },
    goTo: async (hash) => {
      await page.evaluate((to) => {
        (globalThis as unknown as { location: { hash: string } }).location.hash = to;
      }, hash);
    },
  };
}

/** Waits until files of these names are open, or something was refused. */
export async function isOpen(page: Page, names: readonly string[]): Promise<void> {
  const shown = names.map((name) => `.names:has-text(${JSON.stringify(name)})`).join("");
  await expect
    .poll(
      async () =>
        (await page.locator("#view[aria-busy=false]").count()) === 1 &&
        ((await page.locator("[role=alert]").count()) > 0 || (await page.locator(`.top ${shown}`).count()) > 0),
      { timeout: 30_000, interval: 20 },
    )
    .toBe(true);
}
