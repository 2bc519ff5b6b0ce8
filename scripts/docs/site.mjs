// `npm run docs`: the documentation as a folder of static files, from docs/ and from the docstrings. Any server, or none,
// can show it: every link is relative.

import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import Eleventy from "@11ty/eleventy";
import { apiPages } from "./api-pages.mjs";
import { commandChapters } from "./commands.mjs";
import { layout } from "./layout.mjs";
import { forSite, htmlName } from "./markdown.mjs";
import { sections } from "./nav.mjs";
import { chaptersOf, searchContent } from "./search.mjs";

const root = fileURLToPath(new URL("../..", import.meta.url));
const repository = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).homepage.replace(/#.*/, "");

/**
 * The pages that a person wrote, below docs/.
 *
 * @returns {string[]}
 */
export function writtenPages() {
  return readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md") && !name.startsWith("api/"))
    .sort();
}

/**
 * Writes the site; what the folder held is removed.
 *
 * @param {string} out
 * @returns {Promise<void>}
 */
export async function buildSite(out) {
  const api = apiPages();
  const chapters = await commandChapters();
  const made = new Map(api.map(({ page, text: content }) => [page, content]));
  const written = writtenPages();
  const pages = new Set([...written, ...made.keys()]);
  const titles = new Map([...pages].map((page) => [page, titleOf(made.get(page) ?? text(page))]));
  const menu = [...sections, { title: "API", pages: api.map(({ page }) => page) }].map((section) => ({
    title: section.title,
    pages: section.pages.map((page) => ({ page, title: page === "README.md" ? "cprkit" : (titles.get(page) ?? page) })),
  }));
  rmSync(out, { recursive: true, force: true });
  mkdirSync(join(out, "assets"), { recursive: true });

  const entries = [];
  const eleventy = new Eleventy(relative(process.cwd(), join(root, "docs")), relative(process.cwd(), out), {
    quietMode: true,
    config: (/** @type {any} */ config) => {
      config.setUseGitIgnore(false);
      config.ignores.add("docs/api/**");
      config.setTemplateFormats(["md"]);
      config.addGlobalData(
        "eleventyComputed.permalink",
        () => (/** @type {any} */ data) => htmlName(pageOf(data.page.inputPath)),
      );
      config.addPreprocessor("commands", "md", (/** @type {any} */ data, /** @type {string} */ content) =>
        pageOf(data.page.inputPath) === "commands.md" ? `${content}\n${chapters}` : content,
      );
      for (const [page, content] of made) config.addTemplate(page, content);
      config.amendLibrary("md", (/** @type {any} */ md) => forSite(md, { root, repository, pages }));
      config.addTransform("page", function (/** @type {string} */ content) {
        const page = pageOf(this.page.inputPath);
        entries.push(...chaptersOf(content, htmlName(page)));
        return layout(content, page, menu);
      });
      return { markdownTemplateEngine: false, dir: { input: "docs" } };
    },
  });
  await eleventy.write();

  writeFileSync(join(out, "search.html"), layout(searchContent, "search.md", menu));
  writeFileSync(join(out, "assets/search.js"), `const chapters = ${JSON.stringify(entries)};\n`);
  for (const name of ["site.css", "icon.svg"])
    copyFileSync(join(root, "scripts/docs", name), join(out, "assets", name));
  for (const image of new Set(written.flatMap((page) => imagesOf(text(page)))))
    copyFileSync(image, join(out, "assets", basename(image)));
}

/** @param {string} inputPath */
function pageOf(inputPath) {
  return inputPath.replace(/^(\.\/)?(docs\/)?/, "");
}

/** @param {string} page */
function text(page) {
  return readFileSync(join(root, "docs", page), "utf8");
}

/** @param {string} markdown */
function titleOf(markdown) {
  return (/^# (.*)$/m.exec(markdown)?.[1] ?? "").replaceAll("`", "");
}

/** @param {string} markdown of a page directly in docs/ */
function imagesOf(markdown) {
  return [...markdown.matchAll(/!\[[^\]]*\]\(([^)]+)\)/g)]
    .map(([, path = ""]) => join(root, "docs", path))
    .filter(existsSync);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { output: { type: "string", default: join(root, ".cache/site") } } });
  const out = resolve(values.output);
  await buildSite(out);
  process.stdout.write(`${out}/index.html\n`);
}
