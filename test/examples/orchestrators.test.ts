// The recipes of examples/orchestrators name options that exist.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { cprkit, repoRoot } from "../support/cli.ts";

const folder = join(repoRoot, "examples/orchestrators");

it("every option in a recipe is one of the command's", () => {
  for (const name of readdirSync(folder)) {
    const text = readFileSync(join(folder, name), "utf8").replace(/^.*nsenter.*$/gm, "");
    const command = text.includes("update --all") ? "update" : "ensure";
    const help = cprkit([command, "--help"]).stdout;
    const options = text.match(/(?<=[\s"[])--(?!enable|now|meta)[a-z][a-z-]+/g) ?? [];
    if (!name.endsWith(".timer")) expect(options, name).not.toEqual([]);
    for (const option of options) expect(help, `${name}: ${option}`).toContain(`${option} `);
  }
});
