// cprkit schema: what the other commands print with --json.

import { Command } from "commander";
import { CprkitError } from "../../../vmstate/error.ts";
import { nearWords } from "../../near.ts";
import { print, printJson } from "../../output.ts";
import { jsonSchema, outputs } from "../../schema/all.ts";
import { table } from "../../view/table.ts";

export function schemaCommand(): Command {
  return new Command("schema")
    .description("Print the JSON Schema of what a command prints with --json.")
    .argument("[name]", "which; without: a list")
    .option("--json", "the list as JSON, with versions")
    .addHelpText(
      "after",
      [
        "",
        'The version is the last part of "$id". It rises when a key goes, or means something else; new keys do not raise it.',
        "",
        "Example: $ cprkit schema inspect-migration > inspect-migration.schema.json",
      ].join("\n"),
    )
    .action((name: string | undefined, { json }: { readonly json?: true }) => {
      if (name !== undefined) {
        const schema = jsonSchema(name);
        if (schema === undefined) {
          const near = nearWords(name, Object.keys(outputs));
          throw new CprkitError(
            "ERR_USAGE",
            `there is no output "${name}"${near.length > 0 ? `; perhaps ${near.join(", ")}` : ""}: \`cprkit schema\` lists them`,
          );
        }
        print(`${JSON.stringify(schema, undefined, 2)}\n`);
        return;
      }
      const all = Object.entries(outputs).map(([key, { of, version }]) => ({ name: key, version, of }));
      if (json === true) printJson({ outputs: all });
      else
        print(
          table(
            ["NAME", "VERSION", "PRINTED BY"],
            all.map((one) => [one.name, String(one.version), one.of]),
            ["VERSION"],
          ),
        );
    });
}
