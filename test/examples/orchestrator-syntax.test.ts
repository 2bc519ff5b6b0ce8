// The recipes of examples/orchestrators are what those who read them can read: systemd its units, YAML's parser the job of
// Kubernetes, and Nomad's file has blocks that end and no words of a dispatch where Nomad does not know them yet.

import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { repoRoot } from "../support/cli.ts";
import { privateDir } from "../support/vm.ts";

const read = (name: string) => readFileSync(join(repoRoot, "examples/orchestrators", name), "utf8");
/** The exit codes of `cprkit ensure` after which asking again is of no use; 4 is "try again". */
const useless = [1, 2, 5];

const hasSystemd = spawnSync("systemd-analyze", ["--version"], { stdio: "ignore" }).status === 0;
if (!hasSystemd) console.warn("skipped: systemd reads the units: there is no systemd-analyze here");

describe("recipes", () => {
  it.skipIf(!hasSystemd)("systemd reads the units, and finds nothing to say", () => {
    const dir = privateDir();
    for (const name of ["cprkit-ensure.service", "cprkit-ensure.timer"]) {
      // It looks whether the program is there.
      writeFileSync(join(dir, name), read(name).replace("/usr/bin/cprkit ", "/bin/true "));
    }
    const verify = () => {
      const words = ["verify", join(dir, "cprkit-ensure.timer"), join(dir, "cprkit-ensure.service")];
      const { status, stderr } = spawnSync("systemd-analyze", words, { encoding: "utf8" });
      return { status, said: stderr.split("\n").filter((line) => line.includes("cprkit-ensure")) };
    };
    expect(verify()).toEqual({ status: 0, said: [] });
    writeFileSync(join(dir, "cprkit-ensure.service"), read("cprkit-ensure.service").replace("KillMode", "KillNode"));
    expect(verify().said).not.toEqual([]);
  });

  it("the job of Kubernetes is one document, is not tried again in vain, and sees the host's processes", () => {
    const job = parse(read("ensure.job.yaml"), { strict: true, uniqueKeys: true });
    expect(job).toMatchObject({ apiVersion: "batch/v1", kind: "Job" });
    const { podFailurePolicy, template } = job.spec;
    expect(podFailurePolicy.rules).toEqual([{ action: "FailJob", onExitCodes: { operator: "In", values: useless } }]);
    // Kubernetes refuses a podFailurePolicy with another restartPolicy.
    expect(template.spec).toMatchObject({ restartPolicy: "Never", hostPID: true });
    const [{ command, args }] = template.spec.containers;
    expect([...command, ...args].every((word: unknown) => typeof word === "string")).toBe(true);
    expect(args[1]).toBe("ensure");
  });

  it("Nomad's file: blocks end where they should, variables are declared, and a constraint has none of a dispatch", () => {
    const text = read("ensure.nomad.hcl").replace(/^\s*#.*$/gm, "");
    let depth = 0;
    for (const line of text.split("\n")) {
      const bare = line.replace(/"(\\.|\$\{[^}]*\}|[^"\\])*"/g, '""').trim();
      expect(bare, line).not.toContain('"""');
      if (bare === "") continue;
      if (/^\w+( "")* \{$/.test(bare) || /^\w+ += \[$/.test(bare)) depth++;
      else if (bare === "}" || bare === "]") depth--;
      else expect(bare).toMatch(/^(\w+ += ([\w.]+(\(\))?|""|\d+)|(""|[\w.]+)(, ?(""|[\w.]+))*,?)$/);
      expect(depth).toBeGreaterThanOrEqual(0);
    }
    expect(depth).toBe(0);
    const declared = [...text.matchAll(/^variable "(\w+)"/gm)].map(([, name]) => name);
    expect(new Set([...text.matchAll(/var\.(\w+)/g)].map(([, name]) => name))).toEqual(new Set(declared));
    expect(/constraint \{[^}]*?\}[^}]*?\}/.exec(text)?.[0]).not.toMatch(/NOMAD_META/);
  });
});
