"use strict";
// How cprkit's command line, bundled as scripts that can't import by themselves, gets at this package's modules.
module.exports = () => import("./dist/cli/main.js");
