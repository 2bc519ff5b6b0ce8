// Manual pages (man(7)) of the commands, from what --help says.

import type { CommandFacts, OptionFacts } from "./facts.ts";

/** What all pages need. */
export interface ManualFacts {
  readonly version: string;
  /** Seconds since 1970, for the page's head. */
  readonly date: number;
}

/** The page of one command, cprkit-NAME(1). */
export function commandPage(command: CommandFacts, facts: ManualFacts): string {
  const { name, description, usage, words, options, more } = command;
  const parts = sectionsOf(more);
  return page(`cprkit-${name}`, facts, [
    section("NAME", [text(`cprkit-${name} - ${firstSentence(description)}`)]),
    section("SYNOPSIS", [`.B cprkit ${escaped(name)}`, text(usage)]),
    section("DESCRIPTION", [text(description), ...words.map((word) => entry(bold(word.name), word.description))]),
    section("OPTIONS", options.map(optionEntry)),
    section("NOTES", parts.notes),
    section("EXIT STATUS", parts.exit.length > 0 ? parts.exit : [text(exitCodesText)]),
    section("EXAMPLES", parts.examples),
    section("SEE ALSO", [".BR cprkit (1)"]),
  ]);
}

/** The page cprkit(1), which names the others. */
export function overviewPage(description: string, commands: readonly CommandFacts[], facts: ManualFacts): string {
  return page("cprkit", facts, [
    section("NAME", [text("cprkit - a new QEMU under a running guest, and a look into what QEMU saves")]),
    section("SYNOPSIS", [".B cprkit", text("<command> [options] [words]")]),
    section("DESCRIPTION", [text(description)]),
    section(
      "COMMANDS",
      commands.map((command) => entry(`.BR cprkit-${escaped(command.name)} (1)`, command.description)),
    ),
    section("OPTIONS", [
      entry(bold("-h, --help"), "show the help; of a command: cprkit COMMAND --help"),
      entry(bold("-V, --version"), "show the version"),
    ]),
    section("EXIT STATUS", [text(exitCodesText)]),
    section(
      "ENVIRONMENT",
      environment.map(([name, what]) => entry(bold(name), what)),
    ),
    section(
      "FILES",
      files.map(([name, what]) => entry(italic(name), what)),
    ),
    section("SEE ALSO", [commands.map(({ name }) => `.BR cprkit-${escaped(name)} (1)`).join(" ,\n")]),
  ]);
}

const exitCodesText =
  "0 fine, 1 a finding, 2 wrong usage, 3 bad input, 4 the system or QEMU refused. --json prints an error as one line of JSON on standard error.";

const environment: readonly (readonly [name: string, what: string])[] = [
  ["XDG_RUNTIME_DIR", "where updates keep their journals, in a folder cprkit, if it is this user's own"],
  ["XDG_CACHE_HOME", "where compiled code is kept, in a folder cprkit (default: ~/.cache)"],
  ["CPRKIT_NO_CODE_CACHE", "1: keep no compiled code"],
  ["NO_COLOR, FORCE_COLOR", "no colours at all; colours and links also where nothing says that they are understood"],
  ["COLUMNS", "on a terminal: how wide lines and tables are at most; else its own width"],
  ["TMPDIR", "where short-lived folders are made (default: /tmp)"],
];

const files: readonly (readonly [name: string, what: string])[] = [
  ["/run/cprkit", "journals, locks, sockets and logs of root's updates, a folder for each VM"],
  ["$XDG_RUNTIME_DIR/cprkit", "the same of another user"],
  [".cprkit", "the same where there is neither: beside the VM's QMP socket; see --state-dir"],
  ["~/.cache/cprkit", "compiled code, which may be removed at any time"],
];

function page(name: string, { version, date }: ManualFacts, sections: readonly string[]): string {
  const day = new Date(date * 1000).toISOString().slice(0, 10);
  const head = `.TH ${name.toUpperCase().replaceAll("-", "\\-")} 1 "${day}" "cprkit ${version}" "cprkit"`;
  return `${[head, ".nh", ".ad l", ...sections.filter((each) => each !== "")].join("\n")}\n`;
}

function section(title: string, blocks: readonly string[]): string {
  return blocks.length === 0 ? "" : [`.SH "${title}"`, ...blocks].join("\n");
}

function optionEntry({ flags, description }: OptionFacts): string {
  return entry(bold(flags), description);
}

function entry(head: string, body: string): string {
  return [".TP", head, text(body)].join("\n");
}

const bold = (words: string) => `.B ${escaped(words)}`;
const italic = (words: string) => `.I ${escaped(words)}`;

function firstSentence(description: string): string {
  return (description.split(/[.:](?: |$)/)[0] ?? "").replace(/^./, (letter) => letter.toLowerCase());
}

interface Parts {
  readonly notes: readonly string[];
  readonly exit: readonly string[];
  readonly examples: readonly string[];
}

/** By its paragraphs: lines that are indented stay as they are. */
function sectionsOf(more: string): Parts {
  const parts: Record<keyof Parts, string[]> = { notes: [], exit: [], examples: [] };
  for (const paragraph of more.split(/\n\s*\n/)) {
    if (paragraph.trim() === "") continue;
    const [, title = "", rest = paragraph] = /^(Examples?|Exit codes?):\s*([\s\S]*)$/.exec(paragraph) ?? [];
    const target = title.startsWith("Example") ? parts.examples : title.startsWith("Exit") ? parts.exit : parts.notes;
    target.push(block(title === "" ? paragraph : rest.replace(/^(?=\$ )/, "  ")));
  }
  return parts;
}

function block(paragraph: string): string {
  const lines = paragraph.split("\n");
  const out: string[] = [".PP"];
  let isLiteral = false;
  for (const line of lines) {
    const literal = /^\s{2,}\S/.test(line);
    if (literal !== isLiteral) out.push(...(literal ? [".RS 4", ".nf"] : [".fi", ".RE"]));
    isLiteral = literal;
    out.push(text(literal ? line.replace(/^\s{2}/, "") : line));
  }
  if (isLiteral) out.push(".fi", ".RE");
  return out.join("\n");
}

/** A line of text: none of it is taken for a request. */
function text(line: string): string {
  const safe = escaped(line);
  return /^[.']/.test(safe) ? `\\&${safe}` : safe;
}

/** groff_char(7): a dash is to be copied as one; what is not ASCII has a name. */
function escaped(words: string): string {
  return words
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replaceAll("…", "\\&...")
    .replace(
      /[^\x20-\x7e\n]/gu,
      (char) => `\\[u${(char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}]`,
    );
}
