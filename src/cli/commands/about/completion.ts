// cprkit completion: a script that makes a shell complete the words of cprkit.

import { Command } from "commander";
import { CprkitError } from "../../../vmstate/error.ts";
import { print } from "../../output.ts";
import type { WholeProgram } from "./man.ts";

export function completionCommand(program: WholeProgram): Command {
  return new Command("completion")
    .description("Print a script that makes a shell complete cprkit's commands, options and values.")
    .argument("<shell>", "bash, zsh or fish")
    .addHelpText(
      "after",
      `
All words are in the script: a TAB starts no program. Make it anew after an update of cprkit.

Examples:
  $ cprkit completion bash > ~/.local/share/bash-completion/completions/cprkit
  $ source <(cprkit completion bash)
  $ cprkit completion zsh > ~/.zfunc/_cprkit
  $ cprkit completion fish > ~/.config/fish/completions/cprkit.fish`,
    )
    .action(async (shell: string) => {
      const make = Object.hasOwn(shells, shell) ? shells[shell] : undefined;
      if (make === undefined) throw new CprkitError("ERR_USAGE", "expected a shell: bash, zsh or fish");
      const { factsOf } = await import("../../help/facts.ts");
      print((await make())((await program.commands()).map(factsOf)));
    });
}

const shells: Readonly<Record<string, () => Promise<typeof import("../../help/bash.ts").bashCompletion>>> = {
  bash: async () => (await import("../../help/bash.ts")).bashCompletion,
  zsh: async () => (await import("../../help/zsh.ts")).zshCompletion,
  fish: async () => (await import("../../help/fish.ts")).fishCompletion,
};
