// The schemas of all that is printed with --json, by name, each with its version.

import { z } from "zod";
import * as streams from "./streams.ts";
import * as vms from "./vms.ts";

interface Output {
  /** The command that prints it. */
  readonly of: string;
  /** Rises when a key goes, or means something else. New keys, and new values of codes and kinds, do not raise it. */
  readonly version: number;
  readonly schema: z.ZodType;
}

/** By the name that `cprkit schema` takes. */
export const outputs: Readonly<Record<string, Output>> = {
  "inspect-migration": { of: "inspect FILE, of a migration stream", version: 1, schema: streams.inspectMigration },
  "inspect-ram-block": { of: "inspect FILE --ram-block NAME", version: 1, schema: streams.inspectRamBlock },
  "inspect-qcow2": { of: "inspect FILE, of a qcow2 image", version: 1, schema: streams.inspectQcow2 },
  "inspect-cpr": { of: "inspect FILE, of a CPR state", version: 1, schema: streams.inspectCpr },
  "inspect-machine": { of: "inspect --qmp PATH", version: 1, schema: vms.inspectMachine },
  "diff-migration": { of: "diff A B, of migration streams", version: 1, schema: streams.diffMigration },
  "diff-cpr": { of: "diff A B, of CPR states", version: 1, schema: streams.diffCpr },
  check: { of: "check SRC DST", version: 1, schema: streams.check },
  explain: { of: "explain", version: 1, schema: streams.explain },
  web: { of: "web, inspect FILE --web", version: 1, schema: streams.web },
  doctor: { of: "doctor", version: 1, schema: vms.doctor },
  list: { of: "list", version: 1, schema: vms.list },
  fds: { of: "fds", version: 1, schema: vms.fds },
  preflight: { of: "preflight", version: 1, schema: vms.preflight },
  "update-plan": { of: "update --dry-run", version: 1, schema: vms.updatePlan },
  update: { of: "update", version: 1, schema: vms.update },
  recovery: { of: "update --resume, update --abort", version: 1, schema: vms.recovery },
  ensure: { of: "ensure", version: 1, schema: vms.ensure },
  "update-event": { of: "update of several VMs, a line", version: 1, schema: vms.updateEvent },
  status: { of: "status", version: 1, schema: vms.status },
  tap: { of: "tap, a line", version: 1, schema: vms.tap },
  demo: { of: "demo", version: 1, schema: vms.demo },
  error: { of: "every command, on standard error", version: 1, schema: streams.error },
};

/** The JSON Schema (draft 2020-12) of an output; undefined for a name that is not one. */
export function jsonSchema(name: string): Record<string, unknown> | undefined {
  const output = Object.hasOwn(outputs, name) ? outputs[name] : undefined;
  if (output === undefined) return undefined;
  const { of, version, schema } = output;
  // "input": keys that a later cprkit adds are allowed.
  const described = z.toJSONSchema(schema, { io: "input", unrepresentable: "any" });
  return { $id: `urn:cprkit:${name}:${version}`, title: `cprkit ${of} --json`, ...described };
}
