// The reference of the library: a page for each subpath of the package, every export on it, from the docstrings.
// TypeScript 7 has no API that a documentation generator could use; API Extractor reads the declarations that it writes.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ApiItemKind, ApiModel, ExcerptTokenKind } from "@microsoft/api-extractor-model";
import { apiReport, publicSubpaths } from "../api.mjs";
import { slugOf } from "./markdown.mjs";
import { docText, linked, seeAlso } from "./tsdoc.mjs";

/** @typedef {{ name: string, page: string, text: string, exports: string[] }} ApiPage page: below docs/ */

/**
 * All pages; the first one is the index of all exports.
 *
 * @returns {ApiPage[]}
 */
export function apiPages() {
  const unlinked = publicSubpaths().map((subpath) => {
    const { name } = subpath;
    const items = itemsOf(apiReport(subpath).model);
    const from = name === "cprkit" ? "cprkit" : `cprkit/${name}`;
    return {
      name,
      page: `api/${name}.md`,
      exports: items.map(({ displayName }) => displayName),
      text: `# ${from}\n\n\`\`\`ts excerpt\nimport { … } from "${from}";\n\`\`\`\n\n${items.map(itemText).join("\n")}`,
    };
  });
  // On its own page, if it is there; else on the first one that has it.
  const pages = unlinked.map((page) => ({
    ...page,
    text: linked(page.text, (name) => {
      const home = [page, ...unlinked].find(({ exports }) => exports.includes(name));
      return home === undefined ? undefined : `${home === page ? "" : `${home.name}.md`}#${slugOf(name)}`;
    }),
  }));
  const lists = pages.map(({ name, exports }) => {
    const links = exports.map((each) => `[${each}](${name}.md#${slugOf(each)})`);
    return `## ${name === "cprkit" ? "cprkit" : `cprkit/${name}`}\n\n${links.join(" · ")}\n`;
  });
  const count = pages.reduce((sum, { exports }) => sum + exports.length, 0);
  const intro = `# API\n\nEvery export of every subpath, ${count} in all. [The library](../library.md) says which subpath is for what.\n`;
  return [{ name: "index", page: "api/README.md", exports: [], text: `${intro}\n${lists.join("\n")}` }, ...pages];
}

/**
 * The exports of a subpath in the order of the alphabet, overloads together.
 *
 * @param {string} model API Extractor's JSON
 * @returns {{ displayName: string, overloads: any[] }[]}
 */
function itemsOf(model) {
  const folder = mkdtempSync(join(tmpdir(), "cprkit-model-"));
  try {
    writeFileSync(join(folder, "cprkit.api.json"), model);
    const [entry] = new ApiModel().loadPackage(join(folder, "cprkit.api.json")).entryPoints;
    const found = new Map();
    for (const item of entry?.members ?? [])
      found.set(item.displayName, [...(found.get(item.displayName) ?? []), item]);
    return [...found].map(([displayName, overloads]) => ({ displayName, overloads }));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @param {{ displayName: string, overloads: any[] }} item */
function itemText({ displayName, overloads }) {
  const blocks = overloads.map((item) => {
    const members = item.kind === ApiItemKind.Interface || item.kind === ApiItemKind.Class ? membersText(item) : "";
    return `${signature(item)}\n${docText(item)}\n${members}`;
  });
  return `## ${displayName}\n\n${blocks.join("\n")}`;
}

/** @param {any} item */
function signature(item) {
  const text = item.excerpt.text.replace(/^export (declare )?/, "");
  return `\`\`\`ts excerpt\n${text}\n\`\`\`\n${namesIn(item)}`;
}

/**
 * Links to the types that a signature names, but for those of the language, such as Promise.
 *
 * @param {any} item
 */
function namesIn(item) {
  const tokens = item.excerpt.spannedTokens.filter(
    // "!" alone before the name: of the language itself.
    (/** @type {any} */ { kind, canonicalReference }) =>
      kind === ExcerptTokenKind.Reference && !/^!/.test(String(canonicalReference ?? "")),
  );
  const names = new Set(tokens.map((/** @type {any} */ { text }) => text.split(".")[0]));
  names.delete(item.displayName);
  return names.size === 0 ? "" : `\nNames: ${[...names].map((name) => seeAlso(name)).join(", ")}\n`;
}

/**
 * A list: each member as it is declared, and what it is.
 *
 * @param {any} item
 */
function membersText(item) {
  const lines = item.members.map((/** @type {any} */ member) => {
    const text = member.excerpt.text.replaceAll(/\s+/g, " ").replace(/;$/, "");
    const doc = docText(member).trim().replaceAll("\n", "\n  ");
    return `- \`${text}\`${doc === "" ? "" : `: ${doc}`}`;
  });
  return lines.length === 0 ? "" : `\nMembers:\n\n${lines.join("\n")}\n`;
}
