// Which binaries a release means on this host: a file of the administrator's, never the database's word.

import { closeSync, existsSync, openSync, readSync, realpathSync, statSync } from "node:fs";
import { z } from "zod";
import { parseFile } from "../config.ts";
import { FleetError } from "../error.ts";
import { replaceableBy } from "./owned.ts";

const release = z.strictObject({
  /** What is started: QEMU, or a script that ends in exec. */
  qemu: z.string().startsWith("/"),
  /** The program that runs then, when `qemu` is a script. */
  program: z.string().startsWith("/").optional(),
  /** Codes of findings that must not stop the update. */
  allow: z.array(z.string()).default([]),
  /** Way of the update, of those that `cprkit update --mode` knows. Default: as it chooses. */
  mode: z.enum(["cpr-transfer", "cpr-exec", "cpr-reboot", "copy"]).optional(),
});

const fileSchema = z.strictObject({
  releases: z.record(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9_.+-]{0,62}$/), release),
});

/** A release, as this host's file has it. */
export interface Release extends z.infer<typeof release> {
  readonly name: string;
}

/**
 * All releases of the file, whether their programs are there or not.
 *
 * @throws FleetError "refused" when another user can change the file, "usage" when it says something else
 */
export function readReleases(path: string): Release[] {
  if (!existsSync(path)) throw new FleetError("usage", `${path}: there is no such file; it names the releases`);
  const fault = replaceableBy(path);
  if (fault !== undefined) throw new FleetError("refused", `${path} is not trusted: ${fault}`);
  const { releases } = parseFile(path, fileSchema);
  return Object.entries(releases).map(([name, each]) => ({ ...each, name }));
}

/**
 * The release of this name, its programs looked at.
 *
 * @throws FleetError "refused" when the file has none, or another user can change its programs
 */
export function readRelease(path: string, name: string): Release {
  const found = readReleases(path).find((each) => each.name === name);
  if (found === undefined) throw new FleetError("refused", `${path} has no release ${name}`);
  for (const program of [found.qemu, programOf(found)]) {
    if (!existsSync(program)) throw new FleetError("refused", `release ${name}: ${program} is not there`);
    const fault = replaceableBy(program);
    if (fault !== undefined) throw new FleetError("refused", `release ${name} is not trusted: ${fault}`);
  }
  return found;
}

/** The file that runs when the release runs. @throws FleetError "usage" when a script's program is not named */
function programOf({ name, qemu, program }: Release): string {
  if (program !== undefined) return program;
  if (existsSync(qemu) && isScript(qemu)) {
    throw new FleetError("usage", `release ${name}: ${qemu} is a script: name what it starts as "program"`);
  }
  return qemu;
}

/** The release whose program this is, by what the file is, not by its name. */
export function releaseOf(
  releases: readonly Release[],
  { dev, ino }: { dev: bigint; ino: bigint },
): string | undefined {
  return releases.find((each) => {
    try {
      const stat = statSync(realpathSync(programOf(each)), { bigint: true });
      return stat.dev === dev && stat.ino === ino;
    } catch {
      return false;
    }
  })?.name;
}

function isScript(path: string): boolean {
  const fd = openSync(path, "r");
  try {
    const start = Buffer.alloc(2);
    readSync(fd, start);
    return start.toString("latin1") === "#!";
  } finally {
    closeSync(fd);
  }
}
