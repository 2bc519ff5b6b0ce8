// Runs one update from the built code, and kills itself with SIGKILL at the step it is told.
import { updateVm } from "../../../dist/qemu/index.js";

const { at, target, ...options } = JSON.parse(process.argv[2]);
try {
  await updateVm(target, {
    ...options,
    onStep: (step) => {
      if (step === at) process.kill(process.pid, "SIGKILL");
    },
  });
  process.exit(0);
} catch (error) {
  process.stderr.write(`${error.message}\n`);
  process.exit(4);
}
