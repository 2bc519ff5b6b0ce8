// Breaks CPR streams for as long as told: `npm run fuzz -- --seconds 600 --seed 7`. A failure prints its seed and bytes;
// the same seed gives the same cases again.

import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "60" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 2 ** 31)) },
  },
});
const [seconds, seed] = [Number(values.seconds), Number(values.seed)];
if (!(seconds > 0) || !Number.isInteger(seed)) {
  console.error("usage: npm run fuzz -- [--seconds 60] [--seed 7]   (seconds above 0, the seed an integer)");
  process.exit(2);
}

console.error(`fuzzing CPR streams for ${seconds} s from seed ${seed}`);
const vitest = fileURLToPath(new URL("../node_modules/vitest/vitest.mjs", import.meta.url));
const child = spawn(process.execPath, [vitest, "run", "test/cpr/mutations.test.ts"], {
  cwd: fileURLToPath(new URL("..", import.meta.url)),
  env: { ...process.env, CPRKIT_FUZZ_SECONDS: String(seconds), CPRKIT_FUZZ_SEED: String(seed) },
  stdio: "inherit",
});
child.on("exit", (code) => {
  process.exitCode = code ?? 1;
});
