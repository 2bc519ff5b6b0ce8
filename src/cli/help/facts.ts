// What the definitions of the commands say, as plain data: completion and manual pages are made from it, as --help is.

import type { Argument, Command, Option } from "commander";
import { kindOf, type ValueKind } from "./values.ts";

/** What comes behind an option, or a word of the command. */
export interface ValueFacts {
  /** Such as "path". */
  readonly name: string;
  readonly kind: ValueKind;
  readonly isRequired: boolean;
  /** Several may follow. */
  readonly isVariadic: boolean;
}

export interface OptionFacts {
  /** "-o", "--output"; at least one of the two. */
  readonly short: string | undefined;
  readonly long: string | undefined;
  /** Both with the value, such as "-o, --output <file>". */
  readonly flags: string;
  readonly description: string;
  readonly value: ValueFacts | undefined;
}

export interface CommandFacts {
  readonly name: string;
  readonly description: string;
  /** Behind the name, such as "[options] <a> <b>". */
  readonly usage: string;
  readonly words: readonly (ValueFacts & { readonly description: string })[];
  /** With --help. */
  readonly options: readonly OptionFacts[];
  /** What --help says below the options. */
  readonly more: string;
}

/** What a command's definition says. */
export function factsOf(command: Command): CommandFacts {
  const help = command.createHelp();
  const name = command.name();
  return {
    name,
    description: command.description(),
    usage: command.usage(),
    words: command.registeredArguments.map((each) => ({
      ...argumentFacts(name, each),
      description: each.description,
    })),
    options: help.visibleOptions(command).map((each) => optionFacts(name, each)),
    more: moreOf(command),
  };
}

function argumentFacts(command: string, argument: Argument): ValueFacts {
  const name = argument.name();
  const kind = kindOf(command, name, argument.argChoices);
  return { name, kind, isRequired: argument.required, isVariadic: argument.variadic };
}

function optionFacts(command: string, option: Option): OptionFacts {
  const { short, long, flags, description } = option;
  const [, name] = /[<[]([^\]>.]+)/.exec(flags) ?? [];
  const value =
    name === undefined
      ? undefined
      : {
          name,
          kind: kindOf(command, name, option.argChoices),
          isRequired: option.required,
          isVariadic: option.variadic,
        };
  const choices = option.argChoices === undefined ? "" : ` (${option.argChoices.join(", ")})`;
  const preset = value === undefined || option.defaultValue === undefined ? "" : ` (default: ${option.defaultValue})`;
  return { short, long, flags, description: `${description}${choices}${preset}`, value };
}

/** All of the help, without what commander makes of the options. */
function moreOf(command: Command): string {
  let all = "";
  command.configureOutput({
    writeOut: (text) => {
      all += text;
    },
  });
  command.outputHelp();
  return all.slice(command.helpInformation().length).trim();
}
