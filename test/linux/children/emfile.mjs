import { createMemfd, getNofileLimit, setNofileLimit } from "../../../dist/linux/index.js";

createMemfd("first");
setNofileLimit({ soft: 3, hard: getNofileLimit().hard });
try {
  createMemfd("second");
} catch (error) {
  process.stdout.write(JSON.stringify({ code: error.code, errno: error.errno, message: error.message }));
}
