// Opens fds, then becomes exec-new.mjs, which gets them.
import { writeSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createMemfd, execve } from "../../../dist/linux/index.js";

const fds = Array.from({ length: Number(process.argv[2]) }, (_, i) => createMemfd(`kept${i}`));
for (const [i, fd] of fds.entries()) writeSync(fd, `file ${i}`, 0);
createMemfd("not kept");
const script = fileURLToPath(new URL("exec-new.mjs", import.meta.url));
const environment = { KEPT: fds.join(), PID: String(process.pid), TEXT: "a=b=c", ABSENT: undefined };
execve(process.execPath, [process.execPath, script, "ünïcode with spaces"], environment, { keepFds: fds });
