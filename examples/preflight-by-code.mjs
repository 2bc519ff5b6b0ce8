// Asks whether a running VM can be updated, and acts on what is in the way by its code.
// Run: npm run build && node examples/preflight-by-code.mjs QMP-SOCKET [NEW-QEMU]

import { preflight } from "cprkit/qemu";

const [qmp, qemu] = process.argv.slice(2);
if (qmp === undefined) {
  console.error("usage: preflight-by-code.mjs QMP-SOCKET [NEW-QEMU]");
  process.exit(2);
}

const { vm, findings, ok } = await preflight({ qmp }, { qemu });
console.log(`QEMU ${vm.version}, ${vm.machine}, ${vm.runState}`);
for (const { code, severity, subject = "", remedy } of findings) {
  // Codes stay the same in every version of cprkit, texts do not. A misspelt one is an error of the compiler.
  switch (code) {
    case "tap-held":
      console.log(`unplug the network card on ${subject} for the update`);
      break;
    case "memory-not-shared":
    case "aux-ram-share-off":
      console.log("restart this VM once with shared memory");
      break;
    case "migration-active":
      console.log("try again in a minute");
      break;
    default:
      console.log(`${severity} ${code}: ${remedy}`);
  }
}
console.log(ok ? "go" : "not yet");
