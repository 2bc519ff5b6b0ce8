// Calls ensureUpdated, and kills itself at a step if one is named: node ensure.mjs QMP QEMU STATE [STEP]

import { ensureUpdated } from "../../../dist/qemu/index.js";

const [qmp, qemu, stateDir, killAt] = process.argv.slice(2);
const answer = await ensureUpdated(
  { qmp },
  {
    ...{ qemu, stateDir },
    onStep: (step) => {
      if (step === killAt) process.kill(process.pid, "SIGKILL");
    },
  },
);
process.stdout.write(JSON.stringify({ result: answer.result, recovered: answer.recovered, pid: answer.pid }));
