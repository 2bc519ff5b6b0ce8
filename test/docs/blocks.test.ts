// Every block of code in the README and the documentation is run here, or says that it is an excerpt.

import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { endAll, startPlain } from "../qemu/update-support.ts";
import { repoRoot } from "../support/cli.ts";
import { describeQemu } from "../support/qemu.ts";
import { blocksOf, commandsOf, isAsShown, pages } from "./blocks.ts";

const run = pages.flatMap(blocksOf).filter(({ excerpt }) => !excerpt);
const needsVm = /\/run\/vm1\//;

/** A folder with the files that the pages speak of. */
const folder = mkdtempSync(join(tmpdir(), "cprkit-docs-"));
const fixture = (name: string, as: string) => copyFileSync(join(repoRoot, "test/fixtures", name), join(folder, as));
fixture("cpr/q35-min-11.1.bin", "cpr-state.bin");
fixture("migration/cpr-main-microvm-10.0.mig", "vm.mig");
afterAll(() => rmSync(folder, { recursive: true }));

describe("what is compared", () => {
  it("is the text, with ... for anything; numbers only where they are the same each time", () => {
    const real = "VM 12, 3 fds\na\nb\nend\n";
    expect(isAsShown("VM 12, 3 fds\n...\nend\n", real, { numbers: true })).toBe(true);
    expect(isAsShown("VM 12, ...\n...\n", real, { numbers: true })).toBe(true);
    expect(isAsShown("VM 7, 1,234 fds\na\nb\nend\n", real, { numbers: false })).toBe(true);
    expect(isAsShown("VM 7, 3 fds\n...\n", real, { numbers: true })).toBe(false);
    expect(isAsShown("VM 12, 3 fds\na\nend\n", real, { numbers: false })).toBe(false);
  });
});

function cprkit(command: string): { code: number | null; output: string } {
  expect(command).toMatch(/^cprkit /);
  const result = spawnSync("sh", ["-c", `"$NODE" "$CPRKIT" ${command.slice("cprkit ".length)}`], {
    cwd: folder,
    env: { ...process.env, NODE: process.execPath, CPRKIT: join(repoRoot, "bin/cprkit") },
    encoding: "utf8",
    timeout: 60_000,
  });
  // What the new QEMU has to say about this machine's processor is no page's matter.
  const said = result.stderr.replaceAll(/^cprkit: warning: the new QEMU says: .*\n/gm, "");
  return { code: result.status, output: said + result.stdout };
}

const consoles = run.filter(({ language }) => language === "console");
const withoutVm = consoles.filter(({ text }) => !needsVm.test(text)).map((block) => [block.name, block] as const);

it.each(withoutVm)("%s prints what it shows", (_, block) => {
  for (const { command, output } of commandsOf(block)) {
    const real = cprkit(command);
    expect(isAsShown(output, real.output, { numbers: true }), `${command}\n${real.output}`).toBe(true);
  }
});

describeQemu("with a VM", ["10.0", "11.1"], (qemu) => {
  afterAll(endAll);

  it("the tutorial, and then the README, print what they show", { timeout: 120_000 }, async () => {
    const vm = await startPlain(qemu["10.0"]);
    const names = [
      ["/run/vm1/qmp.sock", vm.qmp],
      ["/opt/qemu-10.0/bin/qemu-system-x86_64", qemu["10.0"]],
      ["/opt/qemu-11.1/bin/qemu-system-x86_64", qemu["11.1"]],
    ] as const;
    const here = (text: string) => names.reduce((all, [shown, real]) => all.replaceAll(shown, real), text);
    const there = (text: string) => names.reduce((all, [shown, real]) => all.replaceAll(real, shown), text);
    // The tutorial goes back to where it began: so the README's VM is the same.
    const ordered = consoles.filter(({ text }) => needsVm.test(text)).sort((a, b) => b.name.localeCompare(a.name));
    expect(ordered.map(({ name }) => name.replace(/#.*/, ""))).toContain("docs/tutorial.md");
    for (const block of inOrder(ordered)) {
      for (const { command, output } of commandsOf(block)) {
        const real = cprkit(`${here(command)} --state-dir ${vm.stateDir}`);
        const what = `${block.name}: ${command}\n${there(real.output)}`;
        expect(isAsShown(output, there(real.output), { numbers: false }), what).toBe(true);
        expect(real.code, what).toBe(0);
      }
    }
  });
});

/** The tutorial's, then the others. */
function inOrder<Named extends { readonly name: string }>(all: readonly Named[]): Named[] {
  const first = ({ name }: Named) => name.startsWith("docs/tutorial.md");
  const number = ({ name }: Named) => Number(name.split("#")[1]);
  return [...all.filter(first).sort((a, b) => number(a) - number(b)), ...all.filter((one) => !first(one))];
}

describe("TypeScript", () => {
  const snippets = run.filter(({ language }) => language === "ts");
  // Inside the package, so that "cprkit" is this one; by its name, as a user imports it.
  const source = join(repoRoot, ".cache", `docs-${process.pid}`);

  beforeAll(() => {
    mkdirSync(source, { recursive: true });
    for (const { name, text } of snippets)
      writeFileSync(join(source, `${fileOf(name)}.ts`), (given[firstLine(text)] ?? "") + text);
    const options = {
      ...{ target: "es2023", lib: ["es2023"], module: "nodenext", types: ["node"], strict: true, outDir: "out" },
      ...{ exactOptionalPropertyTypes: true, skipLibCheck: true, rootDir: "." },
    };
    writeFileSync(join(source, "tsconfig.json"), JSON.stringify({ compilerOptions: options, include: ["*.ts"] }));
  });
  afterAll(() => rmSync(source, { recursive: true, force: true }));

  it("is of the right types, and runs", () => {
    const begun = new Set(snippets.map(({ text }) => firstLine(text)));
    expect(Object.keys(given).filter((line) => !begun.has(line))).toEqual([]);
    const tsc = spawnSync(process.execPath, [join(repoRoot, "node_modules/typescript/bin/tsc"), "-p", source], {
      encoding: "utf8",
    });
    expect(tsc.stdout).toBe("");
    // Only now: a cold start for each would be most of the time.
    const loads = snippets.map(
      ({ name }) => `await import(${JSON.stringify(join(source, "out", `${fileOf(name)}.js`))});`,
    );
    const printed = execFileSync(process.execPath, ["--input-type=module", "-e", loads.join("\n")], {
      cwd: folder,
      encoding: "utf8",
      timeout: 60_000,
    });
    expect(printed).toContain("microvm");
  });
});

const firstLine = (text: string) => text.slice(0, text.indexOf("\n"));
const fileOf = (name: string) => name.replaceAll(/[^\w]/g, "_");

/** What a block takes for granted, by its first line: its page has said it in words. */
const given: Readonly<Record<string, string>> = {
  'import { compile } from "cprkit/compile";': `import { since, uint32, uint64, uint8, vmstate } from "cprkit/vmstate";
    const fields = { irq: uint8(), load: uint64(), prescale: since(2, uint32()) };
    const timer = vmstate({ name: "timer", version: 2, minimumVersion: 1, fields });
  `,
  'import { sectionLabel, selectFields, walkFields } from "cprkit/migration";': `import { readFileSync } from "node:fs";
    import { readMigrationBytes } from "cprkit/migration";
    const migration = readMigrationBytes(readFileSync("vm.mig"));
  `,
  'const msi = vmstate({ name: "virtio/msi", version: 1, fields: { vector: uint16() } });':
    'import { uint16, uint8, vmstate } from "cprkit/vmstate"; ',
  "const { devices, warnings } = parseVmdesc(json);": `import { load, parseVmdesc } from "cprkit/vmstate";
    const irq = { name: "irq", type: "uint8", size: 1 };
    const json = JSON.stringify({
      page_size: 4096,
      devices: [{ name: "timer", instance_id: 0, vmsd_name: "timer", version: 1, fields: [irq] }],
    });
    const body = Uint8Array.of(7);
  `,
  'import { CprState, sendCprState } from "cprkit";': `import { receiveCprState } from "cprkit";
    import { createMemfd } from "cprkit/linux";
    const [ramFd, eventFd, socketPath] = [createMemfd("ram"), createMemfd("event"), "docs-1.sock"];
    void receiveCprState(socketPath).then(({ hangUp }) => hangUp());
    await new Promise((resolve) => setTimeout(resolve, 50));
  `,
  'import { receiveCprState } from "cprkit";': `import { CprState, sendCprState } from "cprkit";
    import { createMemfd } from "cprkit/linux";
    const socketPath = "docs-2.sock";
    setTimeout(async () => {
      const saved = new CprState();
      saved.saveFd("pc.ram", 0, createMemfd("ram"));
      await (await sendCprState(socketPath, saved)).hungUp();
    }, 50);
  `,
};
