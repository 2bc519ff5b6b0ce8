// Why a load failed, for people.

import type { Explanation } from "../../migration/index.ts";
import { printable } from "../../vmstate/shown/text.ts";
import type { CodeLink } from "../links.ts";
import { fit } from "./fit.ts";

/** A paragraph for each reason. */
export function explanationsText(explanations: readonly Explanation[], link: CodeLink): string {
  if (explanations.length === 0) return "the log has no failed load that is known\n";
  return explanations.map((each) => paragraph(each, link)).join("\n");
}

function paragraph({ code, section, what, why, remedy, line, said }: Explanation, link: CodeLink): string {
  const place = section === undefined ? "" : `${printable(section)}: `;
  const words: readonly (readonly [string, string])[] = [
    ["why", why],
    ["do", remedy],
    ["said", `${said}${line > 0 ? ` (line ${line})` : ""}`],
  ];
  return [
    fit(`${place}${printable(what)}  [${link("explain.md", code)}]`, 2),
    ...words.map(([name, text]) => fit(`  ${name.padEnd(5)} ${printable(text)}`, 8)),
    "",
  ].join("\n");
}
