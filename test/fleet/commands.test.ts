// The fleet's commands as people type them: what all have, what is refused, and that a file's words are heard.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it, vi } from "vitest";
import { fleetProgram, run } from "../../fleet/src/cli/main.ts";
import { agentConfig } from "../../fleet/src/cli/serve-commands.ts";
import { enqueueVms } from "../../fleet/src/engine.ts";
import { claim, finish, heartbeat } from "../../fleet/src/ledger/host.ts";
import { describeFleet, makeRollout } from "./fleet-support.ts";

const dir = mkdtempSync(join(tmpdir(), "cprkit-words-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** A command in this process: its exit code, what it wrote, and the last line of that as JSON. */
async function fleet(...words: readonly string[]) {
  let text = "";
  const keep = (part: unknown) => {
    text += String(part);
    return true;
  };
  const spies = [process.stdout, process.stderr].map((stream) => vi.spyOn(stream, "write").mockImplementation(keep));
  try {
    process.exitCode = undefined;
    const status = await run([...words, "--json"]);
    const last = text.trimEnd().split("\n").at(-1) ?? "";
    return { status, text, json: last.startsWith("{") ? JSON.parse(last) : undefined };
  } finally {
    process.exitCode = undefined;
    for (const spy of spies) spy.mockRestore();
  }
}

it("every command has --json, and an example that begins with its name", () => {
  const all = fleetProgram().commands.flatMap((each) => (each.commands.length > 0 ? each.commands : [each]));
  expect(all.length).toBeGreaterThan(12);
  for (const command of all) {
    expect([command.name(), command.options.map(({ long }) => long)]).toEqual([
      command.name(),
      expect.arrayContaining(["--json", "--config", "--database"]),
    ]);
    let help = "";
    command.configureOutput({ writeOut: (text) => (help += text) }).outputHelp();
    const parent = command.parent?.name() === "host" ? "host " : "";
    expect(help).toContain(`  $ cprkit fleet ${parent}${command.name()}`);
  }
});

it("an agent hears each word of its file; the command line goes before it", () => {
  const host = { name: "a", stateDir: join(dir, "s"), releases: join(dir, "r"), qmp: join(dir, "{vm}/q"), atOnce: 3 };
  const config = join(dir, "fleet.yaml");
  const all = { database: { url: "postgresql://x" }, host, pollMs: 70, metrics: { port: 9000 } };
  writeFileSync(config, JSON.stringify(all));
  expect(agentConfig({ config })).toEqual(all);
  expect(agentConfig({ config, host: "b" }).host).toEqual({ ...host, name: "b" });
  expect(() => agentConfig({ database: "postgresql://x", host: "b" })).toThrow(/--state-dir/);
});

describeFleet("commands", (database) => {
  it("say what is wrong in one line, and end with the code that the docs name", async () => {
    const ops = ["--database", database().postgres.url("ops")];
    const policy = join(dir, "policy.yaml");
    writeFileSync(policy, "hours: { from: '08:00', to: '08:00' }\n");
    const cases: readonly (readonly [readonly string[], number, RegExp])[] = [
      [["plan", "--release", "new", "--id", "Bad Id", ...ops], 2, /no name of a rollout/],
      [["plan", "--release", "new", "--policy", policy, ...ops], 2, /hours that end when they begin/],
      [["plan", "--release", "new", "--host", "zz", ...ops], 2, /there is no host zz/],
      [["status", "nothing", ...ops], 2, /there is no rollout nothing/],
      [["adopt", "a", ...ops], 4, /nothing to adopt/],
      [["report", "x", "--database", "postgresql://x@localhost/f?host=/nowhere"], 4, /ENOENT/],
    ];
    for (const [words, status, text] of cases) {
      const found = await fleet(...words);
      expect([words[0], found.status, found.text]).toEqual([words[0], status, expect.stringMatching(text)]);
      expect(found.text.trimEnd().split("\n")).toHaveLength(1);
    }
  });

  it("a failed VM and a host that does not answer are findings", async () => {
    const ops = ["--database", database().postgres.url("ops")];
    expect(await fleet("host", "list", ...ops)).toMatchObject({ status: 1 });
    for (const name of ["a", "b", "c"]) {
      const host = database().as(`host-${name}`);
      await heartbeat(host, { epoch: 0, seen: undefined }, { agent: "0.1.0", releases: [], fault: "not trusted" });
    }
    expect(await fleet("host", "list", ...ops)).toMatchObject({
      status: 0,
      json: { hosts: [{ alive: true, versions: { fault: "not trusted" } }, { alive: true }, { alive: true }] },
    });
    const [pool, a] = [database().as("ops"), database().as("host-a")];
    await makeRollout(pool, "r-fails", ["a/one"]);
    expect(await fleet("report", "r-fails", ...ops)).toMatchObject({ status: 0 });
    await enqueueVms(pool, "r-fails", [{ host: "a", vm: "one" }]);
    const attempt = await claim(a, { rollout: "r-fails", vm: "one" }, { epoch: 0, seen: undefined });
    if ("why" in attempt) throw new Error(attempt.why);
    await finish(a, attempt, { state: "failed", code: "ERR_UPDATE_FAILED", why: "no" });
    expect(await fleet("report", "r-fails", ...ops)).toMatchObject({
      status: 1,
      json: { firstFailure: { vm: "one" } },
    });
    expect(await fleet("status", "r-fails", ...ops)).toMatchObject({ status: 1 });
  });
});
