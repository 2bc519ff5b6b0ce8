// A short part of `npm run lab`: VFIO devices whose interrupts come after updates, and a service of a real systemd, in the
// emulated host.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { repoRoot } from "../support/cli.ts";
import { isRoot } from "../support/other-user.ts";

const kernel =
  process.env["CPRKIT_LAB_KERNEL"] ?? join(process.env["CPRKIT_CACHE"] || join(repoRoot, ".cache"), "lab/bzImage");
const reason = !isRoot
  ? "the emulated host's disk is made by root"
  : existsSync(kernel)
    ? undefined
    : "no kernel for the emulated host: `npm run lab` builds one in some 20 minutes, CPRKIT_LAB_KERNEL names one";
if (reason !== undefined) console.warn(`skipped: the emulated host: ${reason}`);

describe.runIf(reason === undefined)(`the emulated host${reason === undefined ? "" : ` [${reason}]`}`, () => {
  for (const cases of ["iommufd, 4 devices", "VFIO, rolled back", "unit: Type=forking"]) {
    it(cases, { timeout: 1_800_000 }, () => {
      const lab = spawnSync(process.execPath, ["lab/run.mjs", "--only", cases], { cwd: repoRoot, encoding: "utf8" });
      expect(lab.status, `${lab.stdout}${lab.stderr}`.slice(-2_000)).toBe(0);
      expect(lab.stdout).toMatch(/[1-9]/);
    });
  }
});
