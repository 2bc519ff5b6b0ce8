// Markdown as GitHub shows it, made for the site: the same anchors, links that lead to the site's pages, tables and code
// that can be scrolled by keyboard on a small screen.

import { existsSync } from "node:fs";
import { join, posix } from "node:path";

/**
 * @typedef {object} Place
 * @property {string} root of the repository
 * @property {string} repository its address, for files that are no pages
 * @property {ReadonlySet<string>} pages below docs/, those that are made too
 */

/**
 * The anchor that GitHub gives a heading.
 *
 * @param {string} heading its text, without marks
 */
export function slugOf(heading) {
  return heading
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\p{M}_ -]/gu, "")
    .replaceAll(" ", "-");
}

/**
 * Where a link leads on the site.
 *
 * @param {string} href as it stands in the page
 * @param {string} page below docs/, such as "decisions/README.md"
 * @param {Place} place
 */
export function siteLink(href, page, { root, repository, pages }) {
  if (/^([a-z]+:|#|\/)/.test(href)) return href;
  const [path = "", anchor] = href.split("#");
  const target = posix.normalize(posix.join("docs", posix.dirname(page), path));
  const below = target.replace(/^docs\//, "").replace(/^decisions\/?$/, "decisions/README.md");
  const made = /^api\/(\w+)\.api\.md$/.exec(below);
  const found = made === null ? below : `api/${made[1]}.md`;
  const end = anchor === undefined ? "" : `#${anchor}`;
  if (target.startsWith("docs/") && pages.has(found)) {
    return `${posix.relative(posix.dirname(page), htmlName(found)) || posix.basename(htmlName(found))}${end}`;
  }
  if (!existsSync(join(root, target))) throw new Error(`docs/${page} leads to ${href}, which is not there`);
  return `${repository}/blob/main/${target}${end}`;
}

/**
 * "update.md" is "update.html", "README.md" the folder's "index.html".
 *
 * @param {string} page
 */
export function htmlName(page) {
  return page.replace(/(^|\/)README\.md$/, "$1index.html").replace(/\.md$/, ".html");
}

/**
 * Changes a markdown-it for the site.
 *
 * @param {any} md
 * @param {Place} place
 */
export function forSite(md, place) {
  const pageOf = (/** @type {any} */ env) => env.page.inputPath.replace(/^(\.\/)?(docs\/)?/, "");

  md.core.ruler.push("anchors", (/** @type {any} */ state) => {
    const taken = new Map();
    for (const [at, token] of state.tokens.entries()) {
      if (token.type !== "heading_open") continue;
      const slug = slugOf(textOf(state.tokens[at + 1]));
      const before = taken.get(slug) ?? 0;
      taken.set(slug, before + 1);
      token.attrSet("id", before === 0 ? slug : `${slug}-${before}`);
    }
  });
  // In a table of codes each row can be linked to: #port-taken. Where GitHub needs an anchor for it, it is not made twice.
  md.core.ruler.push("codes", (/** @type {any} */ state) => {
    let ofCodes = false;
    for (const [at, token] of state.tokens.entries()) {
      if (token.type === "th_open" && state.tokens[at - 1].type === "tr_open")
        ofCodes = textOf(state.tokens[at + 1]) === "code";
      if (token.type !== "tr_open" || !ofCodes || state.tokens[at + 1].type !== "td_open") continue;
      const [code, ...more] = state.tokens[at + 2].children;
      if (code?.type !== "code_inline" || more.length > 0) continue;
      token.attrSet("id", code.content);
      const next = state.tokens[at + 5];
      if (next?.children?.[0]?.content === `<a id="${code.content}">`) next.children.splice(0, 2);
    }
  });
  md.core.ruler.push("links", (/** @type {any} */ state) => {
    for (const token of state.tokens) {
      for (const child of token.children ?? []) {
        if (child.type === "link_open")
          child.attrSet("href", siteLink(child.attrGet("href"), pageOf(state.env), place));
        if (child.type === "image") child.attrSet("src", imageOf(child.attrGet("src"), pageOf(state.env)));
      }
    }
  });
  // A heading without text is none.
  md.core.ruler.push("heads", (/** @type {any} */ state) => {
    for (const [at, token] of state.tokens.entries()) {
      if (token.type !== "th_open" || state.tokens[at + 1].content !== "") continue;
      token.tag = "td";
      state.tokens[at + 2].tag = "td";
    }
  });
  md.renderer.rules.table_open = () => '<div class="scroll" tabindex="0"><table>\n';
  md.renderer.rules.table_close = () => "</table></div>\n";
  const code = (/** @type {any[]} */ tokens, /** @type {number} */ at) => {
    const [language = ""] = tokens[at].info.split(" ");
    const name = language === "" ? "" : ` class="language-${md.utils.escapeHtml(language)}"`;
    return `<pre tabindex="0"><code${name}>${md.utils.escapeHtml(tokens[at].content)}</code></pre>\n`;
  };
  md.renderer.rules.fence = code;
  md.renderer.rules.code_block = code;
}

/**
 * Pictures lie together in assets/.
 *
 * @param {string} src
 * @param {string} page
 */
function imageOf(src, page) {
  return posix.join(posix.relative(posix.dirname(page), "."), "assets", posix.basename(src));
}

/**
 * The text of a heading or cell, without marks.
 *
 * @param {any} inline
 * @returns {string}
 */
function textOf(inline) {
  return inline.children
    .filter((/** @type {any} */ { type }) => type === "text" || type === "code_inline")
    .map((/** @type {any} */ { content }) => content)
    .join("");
}
