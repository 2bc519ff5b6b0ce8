// Loaded into a process of the fleet before all else (NODE_OPTIONS=--import): stops it just before or just after a statement
// that it sends to PostgreSQL. What to do stands in CPRKIT_TEST_FAULTS, JSON: { "do": "kill" | "hold", "at": ["before
// claim", …] }, each point once. To hold is to say so on standard output, and to wait for a line on standard input. Each
// kind of statement is told once, so that a test sees which there are.

import { createInterface } from "node:readline";
import pg from "pg";

const { do: what = "hold", at = [] } = JSON.parse(process.env.CPRKIT_TEST_FAULTS ?? "{}");
delete process.env.CPRKIT_TEST_FAULTS;
delete process.env.NODE_OPTIONS;
const left = new Set(at);
const seen = new Set();
const say = (event) => process.stdout.write(`${JSON.stringify(event)}\n`);
let lines;

/** @param {string} text a statement */
function nameOf(text) {
  const flat = text
    .replace(/["\s]+/g, " ")
    .trim()
    .toLowerCase();
  const ledger = [
    [/pg_try_advisory_lock/, "lock"],
    [/^select 1$/, "hold"],
    // Asked by the engine when it begins.
    [/^select version\(\)|from information_schema\.tables/, "engine: what is there"],
    [/from cprkit_fleet\.rollout_vm where state in/, "read in hand"],
    [/dbos ?\. ?enqueue_workflow/, "enqueue"],
    [/cprkit_fleet\.(claim|fence|finish|heartbeat|offer)\(/, undefined],
    [/update cprkit_fleet\.rollout set trace/, "keep trace"],
    [/update cprkit_fleet\.rollout set/, "set state"],
    [/update cprkit_fleet\.rollout_vm set state = 'skipped'/, "skip"],
    [/update cprkit_fleet\.rollout_vm v set state = 'failed'/, "give up"],
    [/update cprkit_fleet\.rollout_vm v set state = 'planned'/, "queue anew"],
    [/from cprkit_fleet\.rollout where/, "read rollout"],
    [/from cprkit_fleet\.rollout_vm/, "read VMs"],
    [/from cprkit_fleet\.host/, "read hosts"],
  ];
  for (const [form, name] of ledger) {
    const found = form.exec(flat);
    if (found !== null) return name ?? found[1];
  }
  const [, verb, table] = /(insert into|update|delete from|from) dbos ?\. ?(\w+)/.exec(flat) ?? [];
  if (table !== undefined) return `engine: ${verb === "from" ? "read" : verb.split(" ")[0]} ${table}`;
  return /^(begin|start transaction|commit|rollback|set |savepoint|release)/.test(flat)
    ? undefined
    : `other: ${flat.slice(0, 60)}`;
}

async function stop(point) {
  if (!left.delete(point)) return;
  if (what === "kill") process.kill(process.pid, "SIGKILL");
  lines ??= createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  say({ event: "holds", point });
  await lines.next();
}

const query = pg.Client.prototype.query;
pg.Client.prototype.query = function (...words) {
  const text = typeof words[0] === "string" ? words[0] : words[0]?.text;
  const name = typeof text === "string" ? nameOf(text) : undefined;
  if (name !== undefined && !seen.has(name)) {
    seen.add(name);
    say({ event: "statement", name });
  }
  if (name === undefined || !(left.has(`before ${name}`) || left.has(`after ${name}`))) return query.apply(this, words);
  const callback = typeof words.at(-1) === "function" ? words.pop() : undefined;
  const answer = (async () => {
    await stop(`before ${name}`);
    const result = await query.apply(this, words);
    await stop(`after ${name}`);
    return result;
  })();
  if (callback === undefined) return answer;
  answer.then(
    (result) => callback(null, result),
    (error) => callback(error),
  );
  return undefined;
};
