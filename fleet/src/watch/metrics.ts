// Numbers for Prometheus, on the loopback address only: what an agent has done, and how rollouts stand.

import { createServer } from "node:http";
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { AgentEvent } from "../agent/act.ts";
import type { Decision } from "../waves/next.ts";

/** What is counted, and how it is told. */
export interface Metrics {
  readonly registry: Registry;
  agent(event: AgentEvent): void;
  coordinator(rollout: string, decision: Decision): void;
}

export function makeMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  const ended = new Counter({
    ...{ registers, name: "cprkit_fleet_vms_total", labelNames: ["state"] },
    help: "VMs whose turn on this host is over, by what became of them",
  });
  const pause = new Histogram({
    ...{ registers, name: "cprkit_fleet_pause_seconds", buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5] },
    help: "How long guests stood still",
  });
  const underWay = new Gauge({
    ...{ registers, name: "cprkit_fleet_vms_under_way" },
    help: "VMs that this host has in hand",
  });
  const begun = new Counter({
    ...{ registers, name: "cprkit_fleet_begun_total", labelNames: ["rollout"] },
    help: "VMs that the coordinator has put on their hosts' queues",
  });
  const ends = new Counter({
    ...{ registers, name: "cprkit_fleet_rollout_changes_total", labelNames: ["rollout", "state"] },
    help: "States that the coordinator has brought rollouts into",
  });
  return {
    registry,
    agent: (event) => {
      if (event.event === "begun") underWay.inc();
      if (event.event !== "ended") return;
      underWay.dec();
      ended.inc({ state: event.result.state });
      if (event.result.downtimeMs !== undefined) pause.observe(event.result.downtimeMs / 1000);
    },
    coordinator: (rollout, { enqueue, become }) => {
      if (enqueue.length > 0) begun.inc({ rollout }, enqueue.length);
      if (become !== undefined) ends.inc({ rollout, state: become.state });
    },
  };
}

/** Serves /metrics on 127.0.0.1 until the signal. @returns the port */
export async function serveMetrics({ registry }: Metrics, port: number, signal: AbortSignal): Promise<number> {
  const server = createServer((request, response) => {
    if (request.url !== "/metrics") {
      response.writeHead(404).end();
      return;
    }
    registry.metrics().then(
      (text) => response.writeHead(200, { "content-type": registry.contentType }).end(text),
      () => response.writeHead(500).end(),
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  server.unref();
  signal.addEventListener("abort", () => server.close(), { once: true });
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : port;
}
