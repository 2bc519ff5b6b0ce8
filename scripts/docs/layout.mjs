// A page around its content: head, navigation, the list of its chapters.

import { posix } from "node:path";
import { htmlName } from "./markdown.mjs";

/**
 * @typedef {object} Page
 * @property {string} page below docs/
 * @property {string} title
 */

/**
 * @param {string} content HTML
 * @param {string} page
 * @param {readonly { title: string, pages: readonly Page[] }[]} sections
 */
export function layout(content, page, sections) {
  const title = plain(/<h1[^>]*>(.*?)<\/h1>/s.exec(content)?.[1] ?? "cprkit");
  const to = (/** @type {string} */ file) => posix.relative(posix.dirname(page), file) || file;
  const chapters = [...content.matchAll(/<h2 id="([^"]+)"[^>]*>(.*?)<\/h2>/gs)].map(
    ([, id = "", text = ""]) => `<li><a href="#${id}">${plain(text)}</a></li>`,
  );
  const toc =
    chapters.length < 2
      ? ""
      : `<aside><nav aria-labelledby="toc"><h2 id="toc">On this page</h2><ul>${chapters.join("")}</ul></nav></aside>`;
  const menu = sections.map(({ title: name, pages }) => {
    const items = pages.map((each) => {
      const current = each.page === page ? ' aria-current="page"' : "";
      return `<li><a href="${to(htmlName(each.page))}"${current}>${each.title}</a></li>`;
    });
    return `<h2>${name}</h2><ul>${items.join("")}</ul>`;
  });
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${page === "README.md" ? "cprkit: a new QEMU under a running VM" : `${title} · cprkit`}</title>
<meta name="description" content="cprkit puts a new QEMU under a running VM, and shows what happens while it does.">
<link rel="icon" href="${to("assets/icon.svg")}">
<link rel="stylesheet" href="${to("assets/site.css")}">
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header>
<a class="brand" href="${to("index.html")}">cprkit</a>
<form role="search" action="${to("search.html")}"><input type="search" name="q" aria-label="Search" placeholder="Search"></form>
</header>
<div class="columns">
<details class="menu" open><summary>Contents</summary><nav aria-label="Contents">${menu.join("")}</nav></details>
<main id="content" tabindex="-1">
${content}
</main>
${toc}
</div>
<script>
// A phone begins with the content.
if (matchMedia("(max-width: 60rem)").matches) document.querySelector(".menu").open = false;
</script>
</body>
</html>
`;
}

/** @param {string} html */
function plain(html) {
  return html.replaceAll(/<[^>]*>/g, "");
}
