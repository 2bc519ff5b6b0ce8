// An agent that dies at a step of an update, fails there, tells it, or waits there for a word on its standard input.
// Words: the configuration's file, "kill", "fail", "tell" or "hold", the step, "all" for each of them, "-" for none.

import { createInterface } from "node:readline";
import { runAgent } from "../../../fleet/dist/agent/agent.js";
import { readConfig } from "../../../fleet/dist/config.js";

const [file = "", what = "", where = "-"] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (event) => process.stdout.write(`${JSON.stringify(event)}\n`);
const stop = new AbortController();
process.once("SIGTERM", () => stop.abort());
let done = false;

await runAgent(readConfig(file), {
  ...{ signal: stop.signal, version: "test", onEvent: say },
  onStep: async (step) => {
    if (where !== "all" && (step !== where || done)) return;
    done = true;
    if (what === "fail") throw new Error("a test says no");
    if (what === "tell") return say({ event: "step", step });
    if (what === "kill") process.kill(process.pid, "SIGKILL");
    say({ event: "holds", step });
    await lines.next();
  },
});
process.exit(0);
