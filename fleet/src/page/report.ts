// A rollout on one page that needs nothing else: its waves as a grid of VMs, how long guests stood still, and what failed
// first, with cprkit's explanation.

import { explainLog } from "cprkit/migration";
import type { Rollout, VmDetails } from "../ledger/operator.ts";

const colours: Readonly<Record<VmDetails["state"], string>> = {
  ...{ planned: "#c8ccd2", queued: "#9db7e8", claimed: "#5b8def", switching: "#2f62c9", updated: "#3a9d5d" },
  ...{ failed: "#d9822b", lost: "#c23030", refused: "#8a6bbf", skipped: "#e4e6ea" },
};

/** Upper bounds in milliseconds of the histogram's bars. */
const bounds = [5, 10, 20, 50, 100, 200, 500, 1000, Number.POSITIVE_INFINITY];

/** How many guests stood still for so long, by {@link bounds}. */
export function pauses(
  vms: readonly Pick<VmDetails, "downtime_ms">[],
): { readonly upToMs: number; readonly vms: number }[] {
  const counts = bounds.map((upToMs) => ({ upToMs, vms: 0 }));
  for (const { downtime_ms: ms } of vms) {
    const bar = ms === null ? undefined : counts.find(({ upToMs }) => ms <= upToMs);
    if (bar !== undefined) bar.vms++;
  }
  return counts;
}

/** The failure that came first, and what cprkit knows of its words; undefined: nothing has failed. */
export function firstFailure(vms: readonly VmDetails[]) {
  const failed = vms
    .filter(({ state }) => state === "failed" || state === "lost")
    .sort((a, b) => (a.ended_at?.getTime() ?? 0) - (b.ended_at?.getTime() ?? 0));
  const [first] = failed;
  if (first === undefined) return undefined;
  const explained = explainLog(first.why ?? "").map(({ what, remedy }) => ({
    what: capital(what),
    remedy: capital(remedy),
  }));
  return { host: first.host, vm: first.vm, state: first.state, code: first.code, why: first.why, explained };
}

const capital = (words: string) => words.slice(0, 1).toUpperCase() + words.slice(1);

/** The page, as one file. */
export function page(rollout: Rollout, vms: readonly VmDetails[]): string {
  const { id, kind, release, state, reason, who } = rollout;
  const waves = [...new Set(vms.flatMap(({ wave }) => wave ?? []))].sort((a, b) => a - b);
  const rest = vms.filter(({ wave }) => wave === null);
  const sections = waves.map((wave) =>
    grid(
      `Wave ${wave}`,
      vms.filter((vm) => vm.wave === wave),
    ),
  );
  if (rest.length > 0) sections.push(grid("Not part of it", rest));
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="content-security-policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>Rollout ${text(id)}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #1c2127; background: #fff }
h1 { font-size: 1.4rem } h2 { font-size: 1.05rem; margin: 1.6rem 0 .4rem }
.vms { display: flex; flex-wrap: wrap; gap: 3px; list-style: none; margin: 0; padding: 0 }
.vms li { width: 14px; height: 14px; border-radius: 2px; overflow: hidden; color: transparent; font-size: 1px }
.key li { display: inline-block; margin-right: 1rem } .key { list-style: none; padding: 0 }
.key span { display: inline-block; width: 12px; height: 12px; border-radius: 2px; margin-right: .3rem }
table { border-collapse: collapse } td, th { padding: .15rem .8rem .15rem 0; text-align: left; vertical-align: top }
.bar { background: #5b8def; height: 12px; display: inline-block }
blockquote { margin: .4rem 0; padding: .4rem .8rem; border-left: 3px solid #d9822b; background: #faf6f1; overflow-wrap: anywhere }
</style>
<main>
<h1>Rollout ${text(id)}: ${state}</h1>
<p>${kind === "undo" ? "Takes back" : "Brings"} release ${text(release)}, asked for by ${text(who)}${reason === null ? "" : `: ${text(reason)}`}</p>
<ul class="key">${Object.entries(colours)
    .map(([name, colour]) => ({ name, colour, count: vms.filter((vm) => vm.state === name).length }))
    .filter(({ count }) => count > 0)
    .map(({ name, colour, count }) => `<li><span style="background:${colour}"></span>${count} ${name}</li>`)
    .join("")}</ul>
${sections.join("\n")}
${histogram(vms)}
${failure(vms)}
</main>
</html>
`;
}

function grid(title: string, vms: readonly VmDetails[]): string {
  const cells = vms.map((vm) => {
    const { host, vm: name, state, code, downtime_ms: ms } = vm;
    const words = [
      `${host}/${name}: ${state}`,
      ...(code === null ? [] : [code]),
      ...(ms === null ? [] : [`${ms.toFixed(1)} ms`]),
    ];
    // The words are for those who can't see the square.
    const said = text(words.join(", "));
    return `<li style="background:${colours[state]}" title="${said}">${said}</li>`;
  });
  const done = vms.filter(({ state }) => state === "updated").length;
  return `<h2>${title} <small>(${done} of ${vms.length} updated)</small></h2>\n<ul class="vms">${cells.join("")}</ul>`;
}

function histogram(vms: readonly VmDetails[]): string {
  const bars = pauses(vms);
  const most = Math.max(...bars.map((bar) => bar.vms));
  if (most === 0) return "";
  const rows = bars.map(({ upToMs, vms: count }, at) => {
    const label = Number.isFinite(upToMs) ? `up to ${upToMs} ms` : `over ${bounds[at - 1]} ms`;
    return `<tr><td>${label}<td><span class="bar" style="width:${Math.round((count / most) * 320)}px"></span> ${count}`;
  });
  return `<h2>How long guests stood still</h2>\n<table>${rows.join("")}</table>`;
}

function failure(vms: readonly VmDetails[]): string {
  const first = firstFailure(vms);
  if (first === undefined) return "";
  const { host, vm, state, code, why, explained } = first;
  const meaning = explained.map(({ what, remedy }) => `<p>${text(what)}. ${text(remedy)}</p>`).join("");
  return `<h2>The first failure: ${text(`${host}/${vm}`)}, ${state} [${text(code ?? "")}]</h2>\n<blockquote>${text(why ?? "")}</blockquote>${meaning}`;
}

const escapes: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};
const text = (words: string) => words.replace(/[&<>"']/g, (character) => escapes[character] ?? "");
