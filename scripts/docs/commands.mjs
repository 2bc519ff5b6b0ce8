// The reference of the command line, from the same definitions as --help.

import { Help } from "commander";
import { commands } from "../../dist/cli/main.js";

/** One chapter for each command, as Markdown. */
export async function commandsPage() {
  const chapters = [];
  for (const [name, load] of Object.entries(commands)) chapters.push(chapter(name, (await load())()));
  return `# Commands

What \`cprkit COMMAND --help\` says of each; this page is made from the same source. What a command prints with \`--json\` is
described by \`cprkit schema COMMAND\`. [Exit codes](exit-codes.md) are the same for all.

${chapters.join("\n")}`;
}

/**
 * @param {string} name
 * @param {import("commander").Command} command
 */
function chapter(name, command) {
  // A program above it, as when it is called: its help names it.
  const help = new Help();
  const usage = `cprkit ${name} ${command.usage()}`.trim();
  const rows = [
    ...help.visibleArguments(command).map((argument) => [`\`${help.argumentTerm(argument)}\``, argument.description]),
    ...help.visibleOptions(command).map((option) => [`\`${help.optionTerm(option)}\``, help.optionDescription(option)]),
  ];
  const cell = (/** @type {string} */ text) => text.replaceAll("|", "\\|").replaceAll("\n", " ").replaceAll("<", "\\<");
  const table = rows.map(([term = "", text = ""]) => `| ${term.replaceAll("|", "\\|")} | ${cell(text)} |`).join("\n");
  return `## ${name}

${command.description()}

\`\`\`sh excerpt
${usage}
\`\`\`

| argument or option | |
| --- | --- |
${table}
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
