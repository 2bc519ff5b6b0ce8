// The options of `cprkit update`.

import type { UpdateModeName } from "../../qemu/vm/binary.ts";

/** As commander gives them. */
export interface UpdateCommandOptions {
  readonly qmp?: readonly string[];
  readonly pid?: number;
  readonly all?: true;
  readonly match?: string;
  readonly atOnce?: number;
  readonly qemu?: string;
  readonly mode?: UpdateModeName;
  readonly allowCopy?: true;
  readonly maxDowntime?: number;
  readonly maxBandwidth?: number;
  readonly copyTimeout?: number;
  readonly timeout?: number;
  readonly stateDir?: string;
  readonly allow?: readonly string[];
  readonly waitForJobs?: number;
  readonly beforePause?: string;
  readonly onSuccess?: string;
  readonly onFailure?: string;
  readonly vncPasswordFile?: string;
  readonly spicePasswordFile?: string;
  readonly dryRun?: true;
  readonly resume?: true;
  readonly abort?: true;
  readonly json?: true;
}
