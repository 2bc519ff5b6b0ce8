// cprkit web --qmp: the page shows what inspect --qmp and preflight say of a real VM, and changes nothing.

import { afterAll, beforeAll, expect, test } from "vitest";
import { accessibilityFindings, describeBrowser } from "../support/browser.ts";
import { cprkit } from "../support/cli.ts";
import { describeQemu } from "../support/qemu.ts";
import { startVm, type Vm } from "../support/vm.ts";
import { type Inspector, openInspector } from "./inspector.ts";
import { killServers, serve } from "./serve.ts";

describeQemu("a running VM", ["10.0", "11.1"], (qemu) => {
  describeBrowser("on the page", (open) => {
    let vm: Vm;
    let inspector: Inspector;
    beforeAll(async () => {
      vm = await startVm({ qemu: qemu["10.0"], machine: "pc-q35-10.0", accel: "tcg", guest: "firmware" });
      await vm.listening();
      const { said } = await serve("web", "--qmp", vm.qmpPath, "--qemu", qemu["11.1"]);
      inspector = await openInspector(await open(), said.url);
    });
    afterAll(async () => {
      killServers();
      await inspector?.page.close();
      await vm?.kill();
    });

    test("is as inspect --qmp says, with preflight's verdict and findings", async () => {
      const { page } = inspector;
      const preflight = JSON.parse(
        cprkit(["preflight", "--qmp", vm.qmpPath, "--qemu", qemu["11.1"], "--json"]).stdout,
      ) as {
        readonly ok: boolean;
        readonly findings: readonly { readonly code: string }[];
        readonly vm: { pid: number };
      };
      const verdict = page.getByRole("region", { name: "Preflight" });
      await verdict.waitFor();
      expect(await verdict.textContent()).toContain(
        preflight.ok ? "Nothing is in the way of an update" : "An update would be refused",
      );
      expect(await verdict.locator("code").allTextContents()).toEqual(preflight.findings.map(({ code }) => code));
      const facts = (await page.locator("dl.facts").textContent()) ?? "";
      for (const one of ["pc-q35-10.0", "running", String(preflight.vm.pid)]) expect(facts).toContain(one);
      const machine = JSON.parse(cprkit(["inspect", "--qmp", vm.qmpPath, "--json"]).stdout) as object;
      const rows = await page.locator("#machine [role=treeitem] bdi").allTextContents();
      expect(rows).toEqual(Object.keys(machine).slice(0, rows.length));
      expect(rows.length).toBeGreaterThan(4);
      await page.getByRole("searchbox").fill(String(preflight.vm.pid));
      await page
        .locator("#machine [role=treeitem]", { hasText: String(preflight.vm.pid) })
        .first()
        .waitFor();
      await page.getByRole("searchbox").fill("");
    });

    test("is asked again; axe finds nothing; the VM runs on", async () => {
      const { page } = inspector;
      await page.getByRole("button", { name: "Ask again" }).click();
      await page.getByRole("region", { name: "Preflight" }).waitFor();
      expect(await accessibilityFindings(page)).toEqual([]);
      expect(inspector.errors).toEqual([]);
      expect(vm.process.exitCode).toBeNull();
      await vm.kill();
      await page.getByRole("button", { name: "Ask again" }).click();
      await page.locator("p.problems").waitFor();
    });
  });
});
