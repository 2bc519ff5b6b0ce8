// The reference of the command line, from the same definitions as --help and the manual pages.

import { factsOf } from "../../dist/cli/help/facts.js";
import { commands } from "../../dist/cli/main.js";

/** One chapter for each command, as Markdown: what `cprkit COMMAND --help` says. */
export async function commandChapters() {
  const loaded = await Promise.all(Object.values(commands).map(async ({ load }) => factsOf((await load())())));
  return loaded.map(chapter).join("\n");
}

/** @param {import("../../dist/cli/help/facts.js").CommandFacts} command */
function chapter({ name, description, usage, words, options, more }) {
  const cell = (/** @type {string} */ text) => text.replaceAll("|", "\\|").replaceAll("\n", " ");
  const rows = [
    ...words.map((word) => [word.name, word.description]),
    ...options.map((each) => [each.flags, each.description]),
  ];
  const table = rows.map(([term = "", text = ""]) => `| \`${cell(term)}\` | ${cell(text).replaceAll("<", "&lt;")} |`);
  return `## ${name}

${description}

\`\`\`text excerpt
cprkit ${name} ${usage}
\`\`\`

| argument or option | meaning |
| --- | --- |
${table.join("\n")}
${more === "" ? "" : `\n\`\`\`text excerpt\n${more}\n\`\`\`\n`}`;
}
