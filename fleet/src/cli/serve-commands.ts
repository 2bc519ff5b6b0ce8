// agent, coordinator: the processes that stay.

import { type Command, Option } from "commander";
import type { AgentEvent } from "../agent/act.ts";
import { runAgent } from "../agent/agent.ts";
import type { Config, HostConfig } from "../config.ts";
import { runCoordinator } from "../coordinator/coordinator.ts";
import { FleetError } from "../error.ts";
import { makeMetrics, serveMetrics } from "../watch/metrics.ts";
import { type CommonOptions, configOf, fleetCommand, untilStopped } from "./options.ts";
import { tell } from "./output.ts";
import { version } from "./version.ts";

interface AgentOptions extends CommonOptions {
  readonly host?: string;
  readonly stateDir?: string;
  readonly releases?: string;
  readonly qmp?: string;
}

export function agentCommand(): Command {
  return fleetCommand(
    "agent",
    "Do a host's part: one agent on each host. Says what it does, one line for each event, until it is stopped.",
    "agent --config /etc/cprkit/fleet.yaml",
  )
    .addOption(new Option("--host <name>", "the host's name, as the ledger has it"))
    .addOption(new Option("--state-dir <folder>", "what must outlast a restart"))
    .addOption(
      new Option("--releases <file>", "which binaries a release means; only root or the agent's user may change it"),
    )
    .addOption(new Option("--qmp <pattern>", "where VMs' QMP sockets are, such as /run/vms/{vm}/qmp.sock"))
    .action(async (options: AgentOptions) => {
      const config = agentConfig(options);
      const signal = untilStopped();
      const metrics = await startMetrics(config, options, signal);
      await runAgent(config, {
        ...{ signal, version: version() },
        onEvent: (event) => {
          metrics?.agent(event);
          tell(options, event, wordsOf(event));
        },
      });
    });
}

function wordsOf(event: AgentEvent): string {
  if (event.event === "note") return event.text;
  const { rollout, vm } = event;
  if (event.event !== "ended") return `${rollout}, ${vm}: ${event.event}: ${event.text}`;
  const { state, code, why, downtimeMs } = event.result;
  const pause = downtimeMs === undefined ? "" : `, the guest stood still for ${downtimeMs.toFixed(1)} ms`;
  return `${rollout}, ${vm}: ${state}${code === undefined ? "" : ` [${code}]`}${why === undefined ? "" : `: ${why}`}${pause}`;
}

/** The file's words, with the command line's in place of them. @throws FleetError "usage" when something is missing */
export function agentConfig(options: AgentOptions): Config {
  const config = configOf(options);
  const host: Partial<HostConfig> = {
    ...config.host,
    ...given("name", options.host),
    ...given("stateDir", options.stateDir),
    ...given("releases", options.releases),
    ...given("qmp", options.qmp),
  };
  const { name, stateDir, releases, qmp } = host;
  if (name === undefined || stateDir === undefined || releases === undefined || qmp === undefined) {
    throw new FleetError("usage", "an agent needs --host, --state-dir, --releases and --qmp, or a file with them");
  }
  return { ...config, host: { ...host, name, stateDir, releases, qmp } };
}

function given<K extends string>(name: K, value: string | undefined): { [key in K]?: string } {
  return value === undefined ? {} : ({ [name]: value } as { [key in K]: string });
}

export function coordinatorCommand(): Command {
  return fleetCommand(
    "coordinator",
    "Drive the rollouts that were begun: one coordinator for a fleet. Until it is stopped.",
    "coordinator --config /etc/cprkit/fleet.yaml",
  ).action(async (options: CommonOptions) => {
    const config = configOf(options);
    const signal = untilStopped();
    const metrics = await startMetrics(config, options, signal);
    await runCoordinator(config, {
      ...{ signal, lookMs: config.pollMs },
      onNote: (text) => tell(options, { event: "note", text }, text),
      onDecision: (rollout, decision) => {
        metrics?.coordinator(rollout, decision);
        const { enqueue, become } = decision;
        const event = { event: "decision", rollout, enqueue, become };
        if (enqueue.length > 0 || become !== undefined) {
          tell(
            options,
            event,
            `${rollout}: ${enqueue.length} VMs begun${become === undefined ? "" : `, ${become.state}: ${become.reason}`}`,
          );
        }
      },
    }).finally(() => {
      // The engine has not been shut down, so that its rollouts are gone on with: it would keep the process. The exit code
      // is set by then, and what was thrown is told.
      setTimeout(() => process.exit(), 50);
    });
  });
}

async function startMetrics({ metrics: asked }: Config, options: CommonOptions, signal: AbortSignal) {
  if (asked === undefined) return undefined;
  const metrics = makeMetrics();
  const port = await serveMetrics(metrics, asked.port, signal);
  tell(options, { event: "metrics", port }, `metrics: http://127.0.0.1:${port}/metrics`);
  return metrics;
}
