// The processes of a fleet as people start them, and VMs that they find.

import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { expect } from "vitest";
import { runStates, startUpdatable, type Updatable } from "../qemu/update-support.ts";
import { repoRoot } from "../support/cli.ts";
import { assertContiguous } from "../support/serial-log.ts";
import type { FleetDatabase } from "./fleet-support.ts";

export interface FleetProcess {
  readonly child: ChildProcess;
  /** Lines of JSON that it wrote. */
  readonly events: readonly Record<string, unknown>[];
  text(): string;
  /** Lets one that holds go on. */
  go(): void;
  until(what: string, wanted: (event: Record<string, unknown>) => boolean): Promise<Record<string, unknown>>;
  readonly exited: Promise<number | null>;
  end(signal?: NodeJS.Signals): Promise<number | null>;
}

const running = new Set<FleetProcess>();

/** Ends what a test left. */
export async function endProcesses(): Promise<void> {
  await Promise.all([...running].map((each) => each.end("SIGKILL")));
}

/** A command that stays: agent or coordinator. */
export function startFleet(words: readonly string[], env: NodeJS.ProcessEnv = {}): FleetProcess {
  return startProcess([join(repoRoot, "bin/cprkit"), "fleet", ...words, "--json"], env);
}

/** The environment of a process that dies, or holds, just before or after statements to PostgreSQL. */
export function faultsAt(what: "kill" | "hold", at: readonly string[]): NodeJS.ProcessEnv {
  return { ...preload("faults.mjs"), CPRKIT_TEST_FAULTS: JSON.stringify({ do: what, at }) };
}

/** The environment of a process that writes its spans as events. */
export const traced = () => preload("tracing.mjs");

function preload(name: string): NodeJS.ProcessEnv {
  return { NODE_OPTIONS: `--import=${pathToFileURL(join(repoRoot, "test/fleet/children", name)).href}` };
}

/** Until it serves its queue. */
export async function serves(...processes: readonly FleetProcess[]): Promise<void> {
  for (const each of processes) await each.until("that it serves", ({ text }) => /^serves/.test(String(text)));
}

function startProcess(words: readonly string[], env: NodeJS.ProcessEnv = {}): FleetProcess {
  const child = spawn(process.execPath, words, { stdio: ["pipe", "pipe", "pipe"], env: { ...process.env, ...env } });
  const events: Record<string, unknown>[] = [];
  let [text, rest] = ["", ""];
  let wake = () => {};
  child.stdout.setEncoding("utf8").on("data", (part: string) => {
    text += part;
    const lines = (rest + part).split("\n");
    rest = lines.pop() ?? "";
    events.push(...lines.map((line) => JSON.parse(line)));
    wake();
  });
  child.stderr.setEncoding("utf8").on("data", (part: string) => {
    text += part;
  });
  const exited = new Promise<number | null>((resolve) => child.once("close", resolve));
  void exited.then(() => wake());
  const started: FleetProcess = {
    ...{ child, events, exited, text: () => text, go: () => child.stdin.write("go\n") },
    until: async (what, wanted) => {
      const end = performance.now() + 60_000;
      for (;;) {
        const found = events.find(wanted);
        if (found !== undefined) return found;
        const over = child.exitCode !== null || child.signalCode !== null;
        if (over || performance.now() > end) throw new Error(`${words.join(" ")} has not said ${what}: ${text}`);
        await Promise.race([
          new Promise<void>((resolve) => {
            wake = resolve;
          }),
          sleep(1_000),
        ]);
      }
    },
    end: async (signal = "SIGTERM") => {
      running.delete(started);
      child.kill(signal);
      return exited;
    },
  };
  running.add(started);
  return started;
}

/** A command that ends. @returns its exit code and the last line of JSON that it printed */
export async function fleet(...words: readonly string[]) {
  const started = startFleet(words);
  const status = await started.exited;
  running.delete(started);
  return { status, json: started.events.at(-1), text: started.text() };
}

/**
 * Exactly one QEMU runs the guest, it is the one behind this wrapper of the cache, by what the file is, and the guest has
 * missed nothing.
 */
export async function expectRuns(vm: Updatable, qemu: string): Promise<void> {
  const states = await runStates(vm);
  expect([...states.values()]).toEqual(["running"]);
  const [pid] = states.keys();
  const { dev, ino } = statSync(programBehind(qemu));
  expect(statSync(`/proc/${pid}/exe`)).toMatchObject({ dev, ino });
  await vm.serial.waitForMore(5, 20_000);
  assertContiguous(vm.serial);
}

const programBehind = (qemu: string) => join(dirname(qemu), "root/usr/bin/qemu-system-x86_64");

/** A host's files: its state, its VMs by name, and which binaries a release means. */
export function makeHost(
  { dir, postgres }: FleetDatabase,
  name: string,
  releases: Readonly<Record<string, string>>,
  role = `host-${name}`,
  more: { readonly atOnce?: number } = {},
) {
  const home = join(dir, `host-${name}`);
  mkdirSync(join(home, "vms"), { recursive: true, mode: 0o700 });
  const config = join(home, "fleet.yaml");
  const file = join(home, "releases.yaml");
  const write = (found: Readonly<Record<string, string>>) =>
    writeFileSync(
      file,
      JSON.stringify({
        releases: Object.fromEntries(
          Object.entries(found).map(([release, qemu]) => [release, { qemu, program: programBehind(qemu) }]),
        ),
      }),
      { mode: 0o600 },
    );
  write(releases);
  writeFileSync(
    config,
    JSON.stringify({
      ...{ database: { url: postgres.url(role) }, pollMs: 100 },
      host: { name, stateDir: join(home, "state"), releases: file, qmp: join(home, "vms/{vm}/qmp.sock"), ...more },
    }),
    { mode: 0o600 },
  );
  return {
    ...{ home, config, releases: file, write, state: join(home, "state") },
    /** Starts a small VM that the agent knows by this name. */
    vm: async (vm: string, qemu: string, ram: "memfd" | "plain" = "memfd"): Promise<Updatable> => {
      const started = await startUpdatable({ qemu, machine: "pc-q35-10.0", accel: "tcg", ram });
      symlinkSync(started.dir, join(home, "vms", vm));
      return started;
    },
    agent: (env?: NodeJS.ProcessEnv) => startFleet(["agent", "--config", config], env),
    /** An agent that at a step, or at "all", is killed, holds until `go`, fails, or tells it. */
    child: (what: "kill" | "hold" | "fail" | "tell", step: string, env?: NodeJS.ProcessEnv) =>
      startProcess([join(repoRoot, "test/fleet/children/agent.mjs"), config, what, step], env),
  };
}
