// `cprkit --help` lists the commands without loading them (src/cli/main.ts): what it says of each is what the command says.
import { expect, it } from "vitest";
import { cprkit } from "../support/cli.ts";

const text = (...words: string[]) => cprkit(words, { env: { COLUMNS: "500" } }).stdout.replaceAll(/\n {4,}/g, " ");

it("the list of commands says of each what the command itself says", () => {
  const list = text("--help");
  const names = [...list.slice(list.indexOf("Commands:")).matchAll(/^ {2}(\w+)/gm)].map(([, name]) => name ?? "");
  expect(names.length).toBeGreaterThan(10);
  const inList = (name: string) => new RegExp(`^ {2}${name} +(.*)$`, "m").exec(list)?.[1];
  for (const name of names.filter((one) => one !== "help")) {
    const [, about = "?"] = /^Usage:.*\n\n([\s\S]*?)\n\n/.exec(text(name, "--help")) ?? [];
    expect({ name, about: inList(name) }).toEqual({ name, about: about.replaceAll("\n", " ") });
  }
  // A process for each: on a machine that has other work to do that takes its time.
}, 300_000);
