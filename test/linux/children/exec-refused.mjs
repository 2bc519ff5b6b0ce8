import { readFileSync } from "node:fs";
import { createMemfd, execve, isCloseOnExec } from "../../../dist/linux/index.js";

const ignored = () => /SigIgn:.*/.exec(readFileSync("/proc/self/status", "utf8"))?.[0];
const before = ignored();
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
const ignoredSignals = ignored() === before ? "unchanged" : ignored();
process.stdout.write(JSON.stringify({ errors, closeOnExec: fds.map(isCloseOnExec), ignoredSignals, message }));
