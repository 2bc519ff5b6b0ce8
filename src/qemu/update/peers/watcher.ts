// Until the new QEMU holds its own places at the sockets (handover/doors.ts), a cprkit that is killed would leave it where
// it takes clients, or keeps them, from the old one. So somebody else ends it then: a shell that waits for our end.

import { spawn } from "node:child_process";

/** A process that ends another one when this process ends before `dismiss`. */
export interface Watcher {
  /** Names it. */
  watch(pid: number): void;
  dismiss(): void;
}

/** Nothing is done without a shell. */
export function startWatcher(): Watcher {
  const child = spawn("/bin/sh", ["-c", 'read -r pid || exit; read -r done || kill -9 "$pid"'], {
    stdio: ["pipe", "ignore", "ignore"],
    cwd: "/",
    detached: true,
  });
  const { stdin } = child;
  for (const each of [child, stdin]) each.on("error", () => undefined);
  child.unref();
  let isOver = false;
  return {
    watch: (pid) => void stdin.write(`${pid}\n`),
    dismiss: () => {
      if (!isOver) stdin.end("done\n");
      isOver = true;
    },
  };
}
