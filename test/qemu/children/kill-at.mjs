// Loaded into a real cprkit with --import: ends it with SIGKILL just before or after a step stands in the journal, when a
// step has been reached that is not written down ("reached"), or before and after an answer is kept (step "answer").

import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";

const { step, when } = JSON.parse(process.env.CPRKIT_TEST_KILL);
delete process.env.CPRKIT_TEST_KILL;

const die = () => process.kill(process.pid, "SIGKILL");

// A journal and an answer come into being by renaming a draft.
const rename = fs.renameSync;
fs.renameSync = (from, to) => {
  const isIt = step === "answer" ? /\/key-[0-9a-f]{32}$/.test(to) : isStep(from, to);
  if (isIt && when === "before") die();
  rename(from, to);
  if (isIt && when === "after") die();
};
syncBuiltinESMExports();

function isStep(from, to) {
  return to.endsWith("/journal.json") && JSON.parse(fs.readFileSync(from, "utf8")).step === step;
}

// A step that has been reached is put into the report's list of phases.
if (when === "reached") {
  const push = Array.prototype.push;
  Array.prototype.push = function (...items) {
    const [first] = items;
    if (first?.step === step && typeof first.ms === "number") die();
    return push.apply(this, items);
  };
}
