import { readSync } from "node:fs";
import { listFds, readFdLink } from "../../../dist/linux/index.js";

const fds = process.env.KEPT.split(",").map(Number);
const text = Buffer.alloc(16);
const right = fds.filter((fd, i) => text.toString("utf8", 0, readSync(fd, text, 0, 16, 0)) === `file ${i}`);
const surplus = listFds()
  .filter((fd) => !fds.includes(fd))
  .map((fd) => readFdLink("self", fd))
  .filter((link) => link.startsWith("/memfd:"));
const report = {
  samePid: process.pid === Number(process.env.PID),
  right: right.length,
  argument: process.argv[2],
  variable: process.env.TEXT,
  variableCount: Object.keys(process.env).filter((name) => ["TEXT", "ABSENT", "PATH"].includes(name)).length,
  surplus,
};
process.stdout.write(JSON.stringify(report));
process.stderr.write("said on stderr\n");
process.exitCode = 42;
