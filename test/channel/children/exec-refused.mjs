// Tries to become programs that cannot be started, and says whether anything of this process has changed.
import { cprExecVariable, execWithCprState } from "../../../dist/channel/index.js";
import { closeFd, isCloseOnExec, listFds } from "../../../dist/linux/index.js";
import { checkFdSet, leaked, openFdSet } from "./fd-set.mjs";

const count = Number(process.argv[2]);
const state = openFdSet(count);
const before = listFds();
const flags = before.map(isCloseOnExec).join();
const errors = [];
const attempt = (path) => {
  try {
    execWithCprState(state, path, [path]);
  } catch (error) {
    errors.push({ code: error.code, errno: error.errno, message: error.message });
  }
};
attempt("/nonexistent");
attempt("/");
const unchanged = flags === listFds().map(isCloseOnExec).join();
const after = leaked(before);
const variable = process.env[cprExecVariable] ?? null;
const checked = checkFdSet(state, count);
// One fd of the state is not open.
const { fd } = state.entries()[0];
closeFd(fd);
attempt(process.execPath);
const afterInvalid = leaked(before.filter((other) => other !== fd));
process.stdout.write(JSON.stringify({ errors, unchanged, leaked: after, afterInvalid, variable, ...checked }));
