// Search without a server: one page that has every chapter's text, and looks through it in the browser.

/** @typedef {{ at: string, title: string, text: string }} Entry at: address on the site, with its anchor */

/**
 * The chapters of a page.
 *
 * @param {string} content HTML
 * @param {string} file on the site
 * @returns {Entry[]}
 */
export function chaptersOf(content, file) {
  const parts = content.split(/(?=<h[123] id=")/);
  let page = "";
  return parts.flatMap((part) => {
    const [, level, id, heading = ""] = /^<h([123]) id="([^"]+)"[^>]*>(.*?)<\/h\1>/s.exec(part) ?? [];
    if (level === undefined) return [];
    const name = strip(heading);
    if (level === "1") page = name;
    return [
      {
        at: level === "1" ? file : `${file}#${id}`,
        title: level === "1" ? name : `${page}: ${name}`,
        text: strip(part.slice(part.indexOf("</h"))),
      },
    ];
  });
}

/** @param {string} html */
function strip(html) {
  return html
    .replaceAll(/<[^>]*>/g, " ")
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")
    .replaceAll("&quot;", '"')
    .replaceAll("&amp;", "&")
    .replaceAll(/\s+/g, " ")
    .trim();
}

/** The page's content. What is looked through is a script, not JSON: a page that was opened as a file may not fetch any. */
export const searchContent = `<h1 id="search">Search</h1>
<p id="status" role="status">Type above what you look for.</p>
<ol id="results" class="results"></ol>
<script src="assets/search.js"></script>
<script type="module">
const asked = new URLSearchParams(location.search).get("q")?.trim() ?? "";
const words = asked.toLowerCase().split(/\\s+/).filter(Boolean);
document.querySelector("[type=search]").value = asked;
const found = (words.length === 0 ? [] : chapters)
  .map((entry) => ({ entry, title: entry.title.toLowerCase(), text: entry.text.toLowerCase() }))
  .filter(({ title, text }) => words.every((word) => title.includes(word) || text.includes(word)))
  .map((one) => ({ ...one, score: words.filter((word) => one.title.includes(word)).length }))
  .sort((a, b) => b.score - a.score);
if (words.length > 0)
  document.querySelector("#status").textContent = found.length + (found.length === 1 ? " chapter" : " chapters") + " with “" + asked + "”";
for (const { entry, text } of found.slice(0, 50)) {
  const item = document.createElement("li");
  const link = document.createElement("a");
  link.href = entry.at;
  link.textContent = entry.title;
  const around = document.createElement("p");
  const at = Math.max(0, text.indexOf(words[0]) - 80);
  around.textContent = (at > 0 ? "… " : "") + entry.text.slice(at, at + 220) + " …";
  item.append(link, around);
  document.querySelector("#results").append(item);
}
</script>
<noscript><p>Searching needs JavaScript; the contents list every page.</p></noscript>`;
