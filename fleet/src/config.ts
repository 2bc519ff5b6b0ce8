// What a process of a fleet is told: a file, and words of the command line that go before it.

import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { parse } from "yaml";
import { z } from "zod";
import { FleetError } from "./error.ts";

/** Names of hosts, rollouts and VMs: they stand in queues' names, roles and folders. */
export const hostName = z.string().regex(/^[a-z0-9][a-z0-9.-]{0,62}$/, "a name of small letters, digits, . and -");
export const vmName = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$/, "a name of letters, digits, _ . and -");

/** As the ledger's own check has it. */
export const rolloutId = z.string().regex(/^[a-z0-9][a-z0-9-]{0,40}$/);

const configSchema = z.strictObject({
  database: z.strictObject({
    /** Such as postgresql://host-a@db.example.org/fleet, or of a UNIX socket postgresql://user@/fleet?host=/run/postgresql. */
    url: z.string(),
    /** Paths of PEM files. With a `ca` the server must show a certificate for its name, by this authority. */
    ca: z.string().optional(),
    cert: z.string().optional(),
    key: z.string().optional(),
  }),
  /** Of an agent. */
  host: z
    .strictObject({
      name: hostName,
      /** What must outlast a restart: the lock, the highest epoch, results that are not reported yet. */
      stateDir: z.string(),
      /** Which binaries a release means. */
      releases: z.string(),
      /** Where a VM's QMP socket is; {vm} stands for its name. */
      qmp: z.string().refine((path) => path.split("{vm}").length === 2, "a path with {vm} once in it"),
      /** VMs that are updated side by side, whatever a rollout's policy says. Default: as many as there are cores. */
      atOnce: z.number().int().min(1).max(64).optional(),
    })
    .optional(),
  /** How often queues and the ledger are looked at. A host that has nothing to do costs one transaction each time. */
  pollMs: z.number().int().min(50).max(60_000).default(1_000),
  /** Prometheus metrics on the loopback address. */
  metrics: z.strictObject({ port: z.number().int().min(0).max(65535) }).optional(),
});

/** What a process of a fleet is told. */
export type Config = Omit<z.infer<typeof configSchema>, "pollMs"> & { readonly pollMs?: number | undefined };
export type HostConfig = NonNullable<Config["host"]>;

/**
 * Reads the file, YAML or JSON; paths in it count from its folder.
 *
 * @throws FleetError "usage" when it can't be read or says something else than a configuration
 */
export function readConfig(path: string): Config {
  const config = parseFile(path, configSchema);
  const at = (name: string | undefined) => (name === undefined ? undefined : resolve(dirname(path), name));
  const { database, host } = config;
  return {
    ...config,
    database: { ...database, ca: at(database.ca), cert: at(database.cert), key: at(database.key) },
    ...(host === undefined
      ? {}
      : {
          host: {
            ...host,
            stateDir: resolve(dirname(path), host.stateDir),
            releases: resolve(dirname(path), host.releases),
            qmp: resolve(dirname(path), host.qmp),
          },
        }),
  };
}

/** A YAML or JSON file, checked. @throws FleetError "usage" */
export function parseFile<T>(path: string, schema: z.ZodType<T>): T {
  let found: unknown;
  try {
    found = parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new FleetError("usage", `${path}: ${error instanceof Error ? error.message : String(error)}`);
  }
  const { data, error } = schema.safeParse(found);
  if (error !== undefined) throw new FleetError("usage", `${path}: ${z.prettifyError(error).replaceAll("\n", " ")}`);
  return data as T;
}
