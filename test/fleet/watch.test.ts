// What people and programs see of a fleet: the page of a rollout, and the metrics.

import { trace } from "@opentelemetry/api";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import { expect, it } from "vitest";
import type { Rollout, VmDetails } from "../../fleet/src/ledger/operator.ts";
import { firstFailure, page, pauses } from "../../fleet/src/page/report.ts";
import { makeMetrics, serveMetrics } from "../../fleet/src/watch/metrics.ts";
import { rolloutSpans } from "../../fleet/src/watch/rollout-spans.ts";
import { failSpan, inSpan, stepSpans } from "../../fleet/src/watch/spans.ts";
import { policySchema } from "../../fleet/src/waves/policy.ts";
import { accessibilityFindings, describeBrowser } from "../support/browser.ts";

const at = (second: number) => new Date(Date.UTC(2026, 10, 30, 22, 0, second));
const vm = (name: string, more: Partial<VmDetails>): VmDetails => ({
  ...{ host: "a", vm: name, wave: 1, state: "updated", attempt: 1, downtime_ms: 7, ended_at: at(1), release: "new" },
  ...{
    taken_back: 0,
    is_measured: true,
    accepted: false,
    code: null,
    why: null,
    before: { version: "10.0.2" },
    after: { version: "11.1.0" },
  },
  ...more,
});
const said =
  "qemu-system-x86_64: Unknown savevm section or instance '0000:00:05.0/virtio-rng' 0. Make sure that it <b>is</b>";
const vms = [
  vm("one", {}),
  vm("late", { state: "failed", code: "ERR_UPDATE_FAILED", why: "other", ended_at: at(9), downtime_ms: null, wave: 2 }),
  vm("first", { state: "failed", code: "ERR_UPDATE_FAILED", why: said, ended_at: at(5), downtime_ms: null, wave: 2 }),
  vm("slow", { downtime_ms: 5_000, wave: 2 }),
  vm("can't", { state: "refused", code: "vfio", wave: null, downtime_ms: null }),
];
const rollout: Rollout = {
  ...{ id: "demo", kind: "update", undoes: null, release: "11.1", policy: policySchema.parse({}), state: "halted" },
  ...{
    reason: "<script>alert(1)</script>",
    gate: 0,
    trace: null,
    who: "ops",
    created_at: at(0),
    started_at: at(0),
    ended_at: null,
  },
};

it("counts how long guests stood still, each once", () => {
  const bars = pauses(vms);
  expect(bars.find(({ upToMs }) => upToMs === 10)?.vms).toBe(1);
  expect(bars.at(-1)?.vms).toBe(1);
  expect(bars.reduce((sum, bar) => sum + bar.vms, 0)).toBe(2);
});

it("explains the failure that came first", () => {
  const first = firstFailure(vms);
  expect(first).toMatchObject({ vm: "first", why: said });
  expect(first?.explained.length).toBeGreaterThan(0);
  expect(firstFailure(vms.slice(0, 1))).toBeUndefined();
});

it("a page has every VM in its wave, loads nothing, and runs nothing that a host has said", () => {
  const html = page(rollout, vms);
  expect(html.match(/<li style="background:#[0-9a-f]{6}" title="/g)).toHaveLength(vms.length);
  expect(html).toContain("Wave 2 <small>(1 of 3 updated)</small>");
  expect(html).toContain("Not part of it <small>(0 of 1 updated)</small>");
  expect(html).toContain("&lt;script&gt;alert(1)&lt;/script&gt;");
  expect(html).not.toMatch(/<script|<b>|\b(src|href)=|url\(/);
});

/** Of the browser. */
interface Styles {
  getComputedStyle(element: unknown): { readonly backgroundColor: string };
}

describeBrowser("the page in a browser", (open) => {
  it("shows each VM as a square in its wave, a bar for each pause, and the first failure with its meaning", async () => {
    const tab = await open();
    const [errors, asked]: [string[], string[]] = [[], []];
    tab.on("console", (message) => message.type() === "error" && errors.push(message.text()));
    tab.on("pageerror", (error) => errors.push(error.message));
    tab.on("request", (request) => asked.push(request.url()));
    await tab.setContent(page(rollout, vms));
    const squares = tab.locator(".vms li");
    expect(await squares.count()).toBe(vms.length);
    // Whole and to be seen: two of different states have different colours.
    const looks = await squares.evaluateAll((all) =>
      all.map((each) => {
        const { width, height } = each.getBoundingClientRect();
        const colour = (globalThis as unknown as Styles).getComputedStyle(each).backgroundColor;
        return { width, height, colour, title: each.getAttribute("title") };
      }),
    );
    for (const { width, height } of looks) expect([width, height]).toEqual([14, 14]);
    expect(new Set(looks.map(({ colour }) => colour)).size).toBe(3);
    expect(looks.map(({ title }) => title)).toContain("a/slow: updated, 5000.0 ms");
    expect(await tab.locator("h2").allTextContents()).toEqual([
      ...["Wave 1 (1 of 1 updated)", "Wave 2 (1 of 3 updated)", "Not part of it (0 of 1 updated)"],
      ...["How long guests stood still", "The first failure: a/first, failed [ERR_UPDATE_FAILED]"],
    ]);
    const bars = await tab.locator(".bar").evaluateAll((all) => all.map((each) => each.getBoundingClientRect().width));
    expect(bars.filter((width) => width > 0)).toHaveLength(2);
    expect(await tab.locator("blockquote").textContent()).toBe(said);
    expect(await tab.locator("blockquote + p").textContent()).toMatch(/has no such device there/);
    // What a host has said is text, and the page loads nothing.
    expect(await tab.locator("script, blockquote b").count()).toBe(0);
    expect([errors, asked]).toEqual([[], []]);
    expect(await accessibilityFindings(tab)).toEqual([]);
  });
});

it("metrics are served on the loopback address, and nothing else is", async () => {
  const stop = new AbortController();
  const metrics = makeMetrics();
  metrics.agent({ event: "begun", vm: "one", rollout: "r", text: "" });
  metrics.agent({ event: "ended", vm: "one", rollout: "r", result: { state: "updated", downtimeMs: 7 } });
  metrics.coordinator("r", { enqueue: [{ host: "a", vm: "one" }], giveUp: [] });
  const port = await serveMetrics(metrics, 0, stop.signal);
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  expect(text).toContain('cprkit_fleet_vms_total{state="updated"} 1');
  expect(text).toContain('cprkit_fleet_pause_seconds_bucket{le="0.01"} 1');
  expect(text).toContain('cprkit_fleet_begun_total{rollout="r"} 1');
  expect(text).toContain("cprkit_fleet_vms_under_way 0");
  expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(404);
  stop.abort();
});

// Before the next one: a tracer that has found an SDK keeps it.
it("without an SDK the work is done all the same, and no trace goes to the ledger", async () => {
  const its = rolloutSpans({ id: "r", release: "11.1", trace: null });
  expect([its.trace, its.wave(1)]).toEqual([undefined, undefined]);
  expect(await inSpan("update", {}, async () => 7, undefined)).toBe(7);
  await expect(inSpan("update", {}, async () => Promise.reject(new Error("it")))).rejects.toThrow("it");
});

/** What `work` leaves in a real SDK's exporter. */
async function recorded(work: () => Promise<void>): Promise<ReadableSpan[]> {
  const exporter = new InMemorySpanExporter();
  trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }));
  try {
    await work();
  } finally {
    trace.disable();
  }
  return exporter.getFinishedSpans();
}

it("spans make one tree, whose parents of other processes are W3C's traceparent; a wave ends with its last VM", async () => {
  const spans = await recorded(async () => {
    const its = rolloutSpans({ id: "r", release: "11.1", trace: null });
    const wave = its.wave(1);
    expect(its.wave(1)).toBe(wave);
    expect(wave).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
    await inSpan(
      "update",
      { vm: "one" },
      async (span) => {
        const steps = stepSpans(span);
        steps.reached("planned");
        steps.failed("no room");
        failSpan(span, "no room");
      },
      wave,
    );
    its.look({ state: "running", reason: null }, [vm("one", { state: "claimed", ended_at: null })]);
    its.look({ state: "halted", reason: "1 failed" }, [vm("one", { state: "failed" })]);
    its.end();
    await inSpan("forged", {}, async () => {}, "00-xyz'; drop table-01");
  });
  const parentOf = (span: ReadableSpan) =>
    spans.find((each) => each.spanContext().spanId === span.parentSpanContext?.spanId)?.name;
  const error = 2;
  expect(spans.map((span) => [span.name, parentOf(span), span.status.code])).toEqual([
    ["planned", "update", 0],
    ["after planned", "update", error],
    ["update", "wave", error],
    ["wave", "rollout", error],
    ["rollout", undefined, error],
    ["forged", undefined, 0],
  ]);
  expect(new Set(spans.slice(0, 5).map((span) => span.spanContext().traceId)).size).toBe(1);
});
