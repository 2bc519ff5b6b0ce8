// The old program: opens fds, among them one that it does not save, and becomes exec-new.mjs.
import { writeSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { execWithCprState } from "../../../dist/channel/index.js";
import { createMemfd } from "../../../dist/linux/index.js";
import { openFdSet } from "./fd-set.mjs";

const count = Number(process.argv[2]);
const state = openFdSet(count);
writeSync(createMemfd("not saved"), "closed by exec");
const script = fileURLToPath(new URL("exec-new.mjs", import.meta.url));
execWithCprState(state, process.execPath, [process.execPath, script, String(count), String(process.pid)]);
