// What a QCPR stream holds, as plain data: `cprkit inspect --json` prints this.

import type { Observer } from "../vmstate/index.ts";
import { collector } from "../vmstate/trace.ts";
import { unknownFd } from "../vmstate/wire/reader.ts";
import { type CprAbi, cprVersion } from "./detect.ts";
import { type CprInput, loadCprState } from "./stream.ts";

/** An entry in the order of the stream, duplicates too. */
export interface ReportedFd {
  /** Text without loss: a byte that is not valid UTF-8 is kept as U+DC80..U+DCFF. */
  readonly name: string;
  readonly id: number;
  /** Byte offset of the fd in the stream. */
  readonly offset: number;
  /** Its number in a cpr-exec stream, or the one that came with the stream; else null. */
  readonly fd: number | null;
}

/** A subsection of the stream, with its devices. */
export interface ReportedSubsection {
  readonly name: string;
  /** Byte offset of its first byte, 05. */
  readonly offset: number;
  /** Newest first; null if the sender's QEMU was built without iommufd and sent no list at all. */
  readonly devices:
    | readonly { readonly name: string; readonly devid: number; readonly ioasId: number; readonly hwptId: number }[]
    | null;
}

/** What {@link reportCprState} gives: plain data, fit for JSON. */
export interface CprReport {
  readonly format: "qcpr";
  readonly version: number;
  readonly abi: CprAbi;
  /** Length of the stream. */
  readonly bytes: number;
  readonly fds: readonly ReportedFd[];
  readonly subsections: readonly ReportedSubsection[];
  readonly warnings: readonly string[];
}

/**
 * Reads a whole QCPR stream. `observer`, if given, sees every field. Throws as {@link loadCprState}.
 */
export function reportCprState(input: CprInput, observer?: Observer): CprReport {
  const fds: ReportedFd[] = [];
  const subsections: { name: string; offset: number }[] = [];
  let name = "";
  let id = 0;
  const own = collector<{ readonly label: string | number; readonly type: string; readonly offset: number }>(
    (_outer, label, type, offset, within) => {
      if (type === "subsection") subsections.push({ name: String(label), offset });
      observer?.enter(label, type, offset, within);
      return { label, type, offset };
    },
    ({ label, type, offset }, end, value) => {
      if (label === "name") name = String(value);
      else if (label === "id") id = Number(value);
      else if (type === "fd") fds.push({ name, id, offset, fd: value === unknownFd ? null : Number(value) });
      observer?.leave(end, value);
    },
  );
  const { state, abi, warnings } = loadCprState(input, { observer: own.observer });
  const devices =
    state.vfioDevices?.devices?.map(({ name, devid, ioasId, hwptId }) => ({ name, devid, ioasId, hwptId })) ?? null;
  return {
    format: "qcpr",
    version: cprVersion,
    abi,
    bytes: input.bytes.length,
    fds,
    subsections: subsections.map((subsection) => ({ ...subsection, devices })),
    warnings,
  };
}
