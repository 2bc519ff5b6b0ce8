import { readFileSync } from "node:fs";
import { libc } from "../../../dist/linux/ffi/koffi.js";
import { createMemfd, execve, isCloseOnExec } from "../../../dist/linux/index.js";

// SIGUSR2, number 12.
const mask = new Uint8Array(libc().signalMaskBytes);
mask[1] = 1 << 3;
libc().swapSignalMask(mask);
const signalState = () => /SigBlk:.*\nSigIgn:.*/.exec(readFileSync("/proc/self/status", "utf8"))?.[0];
const before = signalState();
const fds = [createMemfd("a"), createMemfd("b")];
const errors = [];
let message;
for (const [path, argv, keepFds] of [
  ["/nonexistent", ["x"], fds],
  ["/etc/passwd", ["x"], fds],
  ["/bin/true", ["true"], [...fds, 9999]],
  ["/bin/true", ["tr\0ue"], fds],
]) {
  try {
    execve(path, argv, {}, { keepFds });
  } catch (error) {
    errors.push([error.code, error.errno ?? null]);
    message ??= error.message;
  }
}
const signals = signalState() === before && before.includes("SigBlk:\t0000000000000800") ? "unchanged" : signalState();
process.stdout.write(JSON.stringify({ errors, closeOnExec: fds.map(isCloseOnExec), signals, message }));
