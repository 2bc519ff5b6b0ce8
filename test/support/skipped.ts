// Vitest's reporter that says at the end which tests were skipped, and why: the note of context.skip(), or the words in
// brackets at the end of the name of the test or of the group around it.

import type { Reporter, TestCase, TestModule, TestSuite } from "vitest/node";

/** Vitest makes reporters of a file's default export only if it is a class or function; this one is made in its config. */
export function skippedReporter(): Reporter {
  let isOfSome = false;
  return {
    onInit: ({ config }) => {
      isOfSome = config.testNamePattern !== undefined;
    },
    onTestRunEnd(modules) {
      // With -t nearly all are skipped.
      if (isOfSome) return;
      const byReason = new Map<string, string[]>();
      for (const module of modules) {
        for (const test of module.children.allTests("skipped")) {
          const reason = reasonOf(test);
          byReason.set(reason, [...(byReason.get(reason) ?? []), `${module.relativeModuleId} > ${test.fullName}`]);
        }
      }
      for (const [reason, tests] of [...byReason].sort()) {
        process.stderr.write(`skipped ${tests.length}: ${reason}\n`);
        for (const name of tests) process.stderr.write(`  ${name}\n`);
      }
    },
  };
}

function reasonOf(test: TestCase): string {
  const result = test.result();
  const note = result.state === "skipped" ? result.note : undefined;
  if (note !== undefined) return note;
  for (let at: TestCase | TestSuite | TestModule = test; at.type !== "module"; at = at.parent) {
    const words = /\[([^\]]+)\]$/.exec(at.name)?.[1];
    if (words !== undefined) return words;
  }
  return "no reason given";
}
