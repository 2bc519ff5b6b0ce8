// Laid in the place of koffi's file of this name, which koffi asks for its library before it looks for it by itself. Its own
// would take a package of the library's name from any node_modules above its folder, and from the user's HOME: above
// /tmp/cprkit-XXXXXX those are for anybody to make. This one knows the folder alone.

const { existsSync } = require("node:fs");
const { join } = require("node:path");

/** @param {string} system "linux-x64" @throws {Error} none of the folder's libraries can be loaded here */
function loadStatic(system) {
  const arch = system.replace(/^.*-/, "");
  let failure = new Error(`koffi's library for ${system} is not here`);
  for (const kind of [`linux_${arch}`, `musl_${arch}`]) {
    const file = join(__dirname, "../../../build/koffi", kind, "koffi.node");
    if (!existsSync(file)) continue;
    try {
      return require(file);
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}

module.exports = { loadStatic };
