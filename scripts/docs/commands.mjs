// The reference of the command line, from the same definitions as --help.

import { Help } from "commander";
import { commands } from "../../dist/cli/main.js";

/** One chapter for each command, as Markdown: what `cprkit COMMAND --help` says. */
export async function commandChapters() {
  const chapters = [];
  for (const [name, { load }] of Object.entries(commands)) chapters.push(chapter(name, (await load())()));
  return chapters.join("\n");
}

/**
 * @param {string} name
 * @param {import("commander").Command} command
 */
function chapter(name, command) {
  const help = new Help();
  const rows = [
    ...help.visibleArguments(command).map((argument) => [help.argumentTerm(argument), argument.description]),
    ...help.visibleOptions(command).map((option) => [help.optionTerm(option), help.optionDescription(option)]),
  ];
  const cell = (/** @type {string} */ text) => text.replaceAll("|", "\\|").replaceAll("\n", " ");
  const table = rows.map(([term = "", text = ""]) => `| \`${cell(term)}\` | ${cell(text).replaceAll("<", "&lt;")} |`);
  return `## ${name}

${command.description()}

\`\`\`text excerpt
cprkit ${name} ${command.usage()}
\`\`\`

| argument or option | meaning |
| --- | --- |
${table.join("\n")}
${afterHelp(command)}`;
}

/**
 * What stands below the options: examples, and what else there is to say.
 *
 * @param {import("commander").Command} command
 */
function afterHelp(command) {
  let text = "";
  command.configureOutput({
    writeOut: (/** @type {string} */ more) => {
      text += more;
    },
  });
  command.outputHelp();
  const own = command.helpInformation();
  const after = text.startsWith(own) ? text.slice(own.length).trim() : "";
  return after === "" ? "" : `\n\`\`\`text excerpt\n${after}\n\`\`\`\n`;
}
