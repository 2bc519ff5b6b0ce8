// Names that somebody chose to hang the page, or to put markup into it.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { harmlessLines, printable } from "../../src/vmstate/shown/text.ts";
import { bytes, configuration, device, end, entry, header } from "../migration/build.ts";
import { describeBrowser } from "../support/browser.ts";
import { type Inspector, openInspector } from "./inspector.ts";

const nasty = [
  "<img src=x onerror=alert(1)>",
  "</script><script>globalThis.stolen = 1</script>",
  "javascript:alert(1)",
  "\u202egnirts desrever",
  "\u0000\u0007\u001b[31m\u009b",
  "a\u200bb\u2028c\u2029d",
  '&lt;b&gt; &#x41; " onclick="globalThis.stolen = 1',
  "constructor",
  "$&$1{{7*7}}",
  "日本語 العربية 👩‍👩‍👧‍👦",
  "x".repeat(2000),
];
const count = 100_000;

/** A device with a field for each name. */
function hostile(): Uint8Array {
  const names = Array.from({ length: count }, (_, index) => `${nasty[index % nasty.length]?.slice(0, 40)} ${index}`);
  const fields = [...nasty, ...names].map((name) => ({ name, type: "uint8", size: 1 }));
  const sections = nasty.map((name, index) => ({ name: name.slice(0, 60), id: index + 2 }));
  const own = [device("one", [{ name: "a", type: "uint8", size: 1 }])];
  return bytes(
    header,
    configuration(nasty[1] ?? ""),
    entry(4, 1, "many", new Uint8Array(fields.length)),
    sections.map(({ name, id }) => entry(4, id, name, [7])),
    end({
      page_size: 4096,
      devices: [device("many", fields), ...sections.map(({ name }) => ({ ...own[0], name }))],
    }),
  );
}

describeBrowser("hostile names", (open) => {
  const folder = mkdtempSync(join(tmpdir(), "cprkit-hostile-"));
  const fileName = `<b onclick=x>${"\u202e"}.mig`;
  let inspector: Inspector;
  let dialogs = 0;
  beforeAll(async () => {
    const page = await open();
    page.on("dialog", (dialog) => {
      dialogs += 1;
      void dialog.dismiss();
    });
    inspector = await openInspector(page);
    writeFileSync(join(folder, fileName), hostile());
    await inspector.page.setInputFiles("#files", join(folder, fileName));
    await inspector.page.getByRole("tab", { name: "Devices" }).waitFor();
  });
  afterAll(async () => {
    await inspector?.page.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test("are shown as text, the page goes on, and no markup comes of them", async () => {
    const { page } = inspector;
    await page.getByRole("tab", { name: "Devices" }).click();
    await page.locator("#tree [role=treeitem]", { hasText: "many" }).first().click();
    await page.locator("#fields [role=row]").nth(5).waitFor();
    const shown = await page.locator("#fields [role=row] span:first-child bdi").allTextContents();
    expect(shown.slice(0, nasty.length)).toEqual(nasty.map(printable).slice(0, shown.length));
    expect(shown.length).toBeGreaterThan(8);
    // The last of them, and back.
    await page.locator("#fields").focus();
    await page.keyboard.press("End");
    await page.locator("#fields [aria-selected=true]", { hasText: String(count - 1) }).waitFor();
    // Found among all.
    await page.getByRole("searchbox").fill(`alert(1)> ${count - (count % nasty.length)}`);
    await page.locator("#tree .count, .tree .count").first().waitFor();
    await page.getByRole("searchbox").fill("77777");
    await page.locator("#tree [role=treeitem]", { hasText: "77777" }).first().waitFor();
    for (const tab of ["Overview", "Bytes", "RAM", "Compare", "Devices"])
      await page.getByRole("tab", { name: tab }).click();
    expect(
      await page.evaluate("document.querySelectorAll('img, iframe, object, embed, link, a, #app script').length"),
    ).toBe(0);
    expect(
      await page.evaluate(
        "[...document.querySelectorAll('*')].flatMap((e) => [...e.attributes]).filter((a) => a.name.startsWith('on')).length",
      ),
    ).toBe(0);
    expect(await page.evaluate("globalThis.stolen")).toBeUndefined();
    expect(dialogs).toBe(0);
    // Few elements, however many rows there are.
    expect(await page.evaluate("document.querySelectorAll('*').length")).toBeLessThan(5000);
    expect(inspector.errors).toEqual([]);
  });

  test("no character that reorders or hides is left as it is", async () => {
    const text = String(await inspector.page.evaluate("document.body.innerText"));
    expect(harmlessLines(text)).toBe(text);
    expect(await inspector.page.locator(".names bdi").textContent()).toBe(printable(fileName));
  });

  test("an address with such names goes where it should, and no further", async () => {
    const { page } = inspector;
    await page.getByRole("searchbox").fill("");
    await page.locator("#tree [role=treeitem]", { hasText: "onerror" }).first().click();
    const sent = await inspector.copied("address");
    await page.locator("#tree [role=treeitem]", { hasText: "many" }).first().click();
    await inspector.goTo(sent);
    await page.locator(".heading h2", { hasText: "onerror" }).waitFor();
    expect(dialogs).toBe(0);
  });
});
