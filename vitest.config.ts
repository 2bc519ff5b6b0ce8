import { defineConfig } from "vitest/config";
import { skippedReporter } from "./test/support/skipped.ts";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // Tests of the tools and of the guests of the tests: only with test:long.
    exclude: process.env["CPRKIT_LONG"] === "1" ? [] : ["**/*.long.test.ts"],
    // Two cores: QEMU tests time out when more run at once than there are cores.
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: "forks",
    globalSetup: ["test/support/build.ts"],
    reporters: ["default", skippedReporter()],
  },
});
