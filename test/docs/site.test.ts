// The documentation's site: every page in its contents, every link and anchor, every export, every code; and how it looks
// and reads in a browser.

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, normalize, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { publicSubpaths } from "../../scripts/api.mjs";
import { buildSite } from "../../scripts/docs/site.mjs";
import { replacedHead } from "../../src/cli/demo/view.ts";
import { commands } from "../../src/cli/main.ts";
import { findingCodes } from "../../src/qemu/finding.ts";
import { accessibilityFindings, describeBrowser } from "../support/browser.ts";
import { repoRoot } from "../support/cli.ts";

const site = mkdtempSync(join(tmpdir(), "cprkit-site-"));
let files: string[];
beforeAll(async () => {
  await buildSite(site);
  files = readdirSync(site, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".html"));
});
afterAll(() => rmSync(site, { recursive: true }));

const read = (name: string) => readFileSync(join(site, name), "utf8");

it("every link leads somewhere, and every anchor is there", () => {
  const ids = new Map(
    files.map((file) => [file, new Set([...read(file).matchAll(/ id="([^"]+)"/g)].map(([, id]) => id))]),
  );
  const broken = files.flatMap((file) =>
    [...read(file).matchAll(/ (?:href|src|action)="([^"]+)"/g)].flatMap(([, link = ""]) => {
      if (/^https?:/.test(link)) return [];
      const [path = "", anchor] = link.split("#");
      const target = path === "" ? file : normalize(join(dirname(file), path));
      if (!existsSync(join(site, target)) || statSync(join(site, target)).isDirectory()) return [`${file}: ${link}`];
      return anchor === undefined || ids.get(target)?.has(decodeURIComponent(anchor)) ? [] : [`${file}: ${link}`];
    }),
  );
  expect(files.length).toBeGreaterThan(45);
  expect(broken).toEqual([]);
});

it("ids are there once a page", () => {
  for (const file of files) {
    const ids = [...read(file).matchAll(/ id="([^"]+)"/g)].map(([, id]) => id);
    expect(ids.filter((id, at) => ids.indexOf(id) !== at).map((id) => `${file}#${id}`)).toEqual([]);
  }
});

it("the API's reference has every export of every subpath", () => {
  for (const { name } of publicSubpaths()) {
    const report = readFileSync(join(repoRoot, `docs/api/${name}.api.md`), "utf8");
    const declared = [
      ...report.matchAll(/^export (?:declare )?(?:abstract )?(?:function|class|interface|type|const) (\w+)/gm),
    ];
    const exported = new Set([...declared, ...report.matchAll(/^export \{ (\w+)/gm)].map(([, each = ""]) => each));
    const page = read(`api/${name}.html`);
    expect(exported.size).toBeGreaterThan(0);
    expect([...exported].filter((each) => !page.includes(`<h2 id="${each.toLowerCase()}">`))).toEqual([]);
  }
});

it("the API's reference has what the docstrings say: of an export, of its members, what is thrown", () => {
  const page = read("api/qemu.html").replaceAll(/<[^>]*>/g, "");
  expect(page).toContain("Replaces the QEMU under a running guest.");
  expect(page).toContain("readonly downtimeMs: number | undefined: STOP of the source to RESUME of the destination");
  expect(page).toContain("Names: VmTarget, UpdateOptions, UpdateReport\n");
  expect(read("api/qemu.html")).toContain('<a href="#updatereport"><code>UpdateReport</code></a>');
  expect(page).toMatch(/throws CprkitError ERR_UPDATE_REFUSED when something is in the way/);
});

it("every code of a finding has a place that can be linked to", () => {
  for (const code of Object.keys(findingCodes)) expect(read("preflight.html")).toContain(`<tr id="${code}">`);
});

it("every command has a chapter with its options", () => {
  const page = read("commands.html");
  for (const command of Object.keys(commands)) expect(page).toContain(`<h2 id="${command}">`);
  expect(page).toContain("--before-pause");
  expect(page).toContain("Example:");
});

describeBrowser("the site in a browser", (open) => {
  const address = (page: string) => pathToFileURL(join(site, page)).href;
  const looked = ["index.html", "preflight.html", "api/cpr.html", "tutorial.html", "commands.html"];

  it.each(["phone", "desktop"] as const)(
    "on a %s: nothing that axe finds, nothing wider than the screen",
    { timeout: 300_000 },
    async (screen) => {
      const page = await open(screen);
      const pages = process.env["CPRKIT_LONG"] === "1" ? files : looked.slice(0, screen === "phone" ? 5 : 3);
      for (const each of pages) {
        await page.goto(address(each));
        expect([each, ...(await accessibilityFindings(page))]).toEqual([each]);
        const wider = await page.evaluate("document.documentElement.scrollWidth - innerWidth");
        expect([each, wider]).toEqual([each, 0]);
      }
      await page.emulateMedia({ colorScheme: "dark" });
      await page.goto(address("preflight.html"));
      expect(await accessibilityFindings(page)).toEqual([]);
      await page.close();
    },
  );

  it("finds chapters, without a server", async () => {
    const page = await open();
    await page.goto(address("tutorial.html"));
    await page.getByRole("searchbox").fill("tap interface");
    await page.getByRole("searchbox").press("Enter");
    await page.getByRole("link", { name: /Network interfaces/ }).click();
    expect(page.url()).toBe(`${address("update.html")}#network-interfaces`);
    await page.goto(`${address("search.html")}?q=nosuchwordhere`);
    expect(await page.getByRole("status").textContent()).toContain("0 chapters");
    expect(await accessibilityFindings(page)).toEqual([]);
    await page.close();
  });

  it("begins with the content on a phone, and with the contents beside it on a desktop", async () => {
    const phone = await open("phone");
    await phone.goto(address("tutorial.html"));
    expect(await phone.getByRole("link", { name: "Glossary" }).first().isVisible()).toBe(false);
    await phone.getByText("Contents", { exact: true }).click();
    await phone.getByRole("link", { name: "Glossary" }).first().click();
    expect(phone.url()).toBe(address("glossary.html"));
    await phone.close();
    const desktop = await open("desktop");
    await desktop.goto(address("tutorial.html"));
    expect(await desktop.getByRole("link", { name: "Glossary" }).first().isVisible()).toBe(true);
    await desktop.close();
  });
});

it("the picture of the README is of the demo as it is", () => {
  const picture = readFileSync(join(repoRoot, "docs/demo.svg"), "utf8");
  const written = [...picture.matchAll(/<text [^>]*>([^<]*)<\/text>/g)].map(([, text = ""]) => text);
  for (const word of replacedHead.trim().split(/ {2,}/)) expect(written.join("\n")).toContain(word);
  expect(written).toEqual(expect.arrayContaining(["none lost, none twice", "$ npm run demo"]));
  expect(written.filter((text) => /^[▁▂▃▄▅▆▇█]+$/.test(text)).length).toBeGreaterThan(20);
});

it("needs nothing from outside", () => {
  for (const file of files) {
    const loaded = [...read(file).matchAll(/<(?:script|link|img)[^>]* (?:src|href)="([^"]+)"/g)].map(
      ([, link]) => link,
    );
    expect(
      loaded.filter((link) => /^(https?:)?\/\//.test(link ?? "")).map((link) => `${relative(site, file)}: ${link}`),
    ).toEqual([]);
  }
});
