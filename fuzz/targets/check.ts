// The two inputs of a check, JSON each, with a zero byte between them.

import { checkMigration, checkSideOfJson } from "../../src/migration/index.ts";
import { parts, type Target, unlessRefused } from "../target.ts";

export const fuzz: Target = (input) => {
  const texts = parts(input, 2).map((bytes) => Buffer.from(bytes).toString("utf8"));
  const [source, destination] = texts.map((text) => unlessRefused(() => checkSideOfJson(text)));
  if (source === undefined) return;
  for (const { code, message } of checkMigration(source, destination ?? source)) {
    if (code === undefined || message === "") throw new Error("a finding without words");
  }
};
