// cprkit man: manual pages, made from the same definitions as --help.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { CprkitError } from "../../../vmstate/error.ts";
import { nearWords } from "../../near.ts";
import { print } from "../../output.ts";

/** What the pages need of main.ts. */
export interface WholeProgram {
  readonly description: string;
  version(): string;
  /** Every command, made from its definition. */
  commands(): Promise<readonly Command[]>;
}

export function manCommand(program: WholeProgram): Command {
  return new Command("man")
    .description("Print a manual page, for `man -l -`; or write all of them.")
    .argument("[name]", "the command (default: the page about all)")
    .option("--output <folder>", "write every page into this folder")
    .addHelpText(
      "after",
      "\nExamples:\n  $ cprkit man update | man -l -\n  $ cprkit man --output ~/.local/share/man/man1",
    )
    .action(async (name: string | undefined, { output }: { readonly output?: string }) => {
      const { commandPage, overviewPage } = await import("../../help/manual.ts");
      const { factsOf } = await import("../../help/facts.ts");
      const facts = { version: program.version(), date: Number(process.env["SOURCE_DATE_EPOCH"] ?? Date.now() / 1000) };
      const commands = (await program.commands()).map(factsOf);
      const overview = () => overviewPage(program.description, commands, facts);
      if (output !== undefined) {
        mkdirSync(output, { recursive: true });
        writeFileSync(join(output, "cprkit.1"), overview());
        for (const command of commands) {
          writeFileSync(join(output, `cprkit-${command.name}.1`), commandPage(command, facts));
        }
        return;
      }
      const command = commands.find((each) => each.name === name);
      if (name !== undefined && command === undefined) {
        const near = nearWords(
          name,
          commands.map((each) => each.name),
        );
        const hint = near.length === 0 ? "" : `; perhaps ${near.join(", ")}`;
        throw new CprkitError("ERR_USAGE", `there is no command "${name}"${hint}`);
      }
      print(command === undefined ? overview() : commandPage(command, facts));
    });
}
