// Every finding of a check in one table: its code, how severe it is, and what it says.

/** Every code of a check's finding. Append only: a code is never removed, renamed or given another meaning. */
export const checkFindingCodes = [
  "machine-differs",
  "page-size-differs",
  "capability-differs",
  "ram-block-missing",
  "ram-size-differs",
  "section-missing",
  "version-too-new",
  "version-too-old",
  "description-missing",
  "description-differs",
  "field-missing",
  "field-unexpected",
  "field-differs",
  "field-renamed",
  "type-differs",
  "size-differs",
  "subsection-missing",
  "count-differs",
  "value-differs",
  "uuid-differs",
  "run-state-unknown",
  "pci-config-differs",
  "virtio-differs",
  "virtio-feature-missing",
] as const;

/** One of {@link checkFindingCodes}. */
export type CheckFindingCode = (typeof checkFindingCodes)[number];

/** What `checkMigration` found. */
export interface CheckFinding {
  /** What programs compare with. */
  readonly code: CheckFindingCode;
  /** "error": the load fails, or reads wrong values. "warning": that depends on something that the input does not show. */
  readonly severity: "error" | "warning";
  /** The source's section, as `sectionLabel` names it; "ram" for RAM blocks; "" for the machine as a whole. */
  readonly section: string;
  /** Field or subsection inside the section, or the name of a RAM block; "" for the section as a whole. */
  readonly path: string;
  /** For people; it may change. */
  readonly message: string;
}

/** A finding before its place is known. */
export type Found = Pick<CheckFinding, "code" | "severity" | "message">;

function error(code: CheckFindingCode, message: string): Found {
  return { code, severity: "error", message };
}

function warning(code: CheckFindingCode, message: string): Found {
  return { code, severity: "warning", message };
}

const missing = "a field that the destination does not have";

function unexpected(names: string): string {
  return `${names}, which the destination reads, but the source does not send`;
}

function elements(count: number): string {
  return `${count} element${count === 1 ? "" : "s"}`;
}

/** The table. What a message names: versions, names and sizes in bytes, first of the source, then of the destination. */
export const finding = {
  machineDiffers: (ours: string, theirs: string) =>
    error("machine-differs", `the source is a ${ours}, the destination a ${theirs}: QEMU refuses another machine type`),
  /** Between two dumps, of which no stream was made. */
  dumpedMachineDiffers: (ours: string, theirs: string) =>
    warning(
      "machine-differs",
      `the source is a ${ours}, the destination a ${theirs}: QEMU refuses another machine type`,
    ),
  pageSizeDiffers: (ours: number, theirs: number) =>
    error("page-size-differs", `guest pages have ${ours} bytes in the source, ${theirs} in the destination`),
  capabilityDiffers: (name: string, isOn: boolean) =>
    warning(
      "capability-differs",
      `capability ${name} is ${isOn ? "on" : "off"} in the source's stream and was ${isOn ? "off" : "on"} in the destination's: set it in the destination as in the source before loading`,
    ),
  ramBlockMissing: (name: string) => error("ram-block-missing", `the destination has no RAM block "${name}"`),
  ramSizeDiffers: (name: string, ours: number, theirs: number) =>
    error("ram-size-differs", `RAM block "${name}" has ${ours} bytes in the source, ${theirs} in the destination`),
  resizableRamSizeDiffers: (name: string, ours: number, theirs: number) =>
    warning(
      "ram-size-differs",
      `RAM block "${name}" has ${ours} bytes in the source, ${theirs} in the destination (QEMU resizes such blocks)`,
    ),

  sectionMissing: (name: string) =>
    error(
      "section-missing",
      `the destination has no section "${name}": QEMU refuses a section of a device that it does not have`,
    ),
  versionTooNew: (what: string, version: number, newest: number) =>
    error("version-too-new", `${what} has version ${version}, the destination knows up to ${newest}`),
  versionTooOld: (what: string, version: number, oldest: number) =>
    error("version-too-old", `${what} has version ${version}, the destination takes ${oldest} and newer`),
  sectionUndescribed: (name: string) =>
    error("description-missing", `the destination's section "${name}" has no description`),
  sectionDescribedOtherwise: (ours: string, theirs: string) =>
    error("description-differs", `the source describes it as "${ours}", the destination as "${theirs}"`),
  subsectionUnknown: (name: string) =>
    error(
      "subsection-missing",
      `subsection "${name}", which the destination does not have: QEMU refuses an unknown subsection (error -2)`,
    ),
  subsectionNotSent: (name: string) =>
    warning("subsection-missing", `subsection "${name}", which the destination did not send: it may still know it`),

  fieldMissing: () => error("field-missing", `${missing}: it would read these bytes as the next field`),
  conditionalFieldMissing: () =>
    warning("field-missing", `${missing}; a test in the source decides whether it is sent`),
  /** From a dump to a stream, which leaves arrays without elements out. */
  maybeEmptyFieldMissing: () => warning("field-missing", `${missing}, unless it is an array and empty there`),
  fieldMissingAtVersion: (version: number, since: number) =>
    error(
      "field-missing",
      `at version ${version}, the field exists in the source, but in the destination only from version ${since} on`,
    ),
  fieldUnexpectedAtVersion: (version: number, since: number) =>
    error(
      "field-unexpected",
      `at version ${version}, the field exists in the destination, but in the source only from version ${since} on`,
    ),
  fieldUnexpected: (names: string) => error("field-unexpected", unexpected(names)),
  /** A stream does not mention an array without elements, and a dump does not say which fields are arrays. */
  maybeEmptyFieldUnexpected: (names: string) =>
    warning("field-unexpected", `${unexpected(names)}, unless it is an array and empty`),
  fieldDiffers: (theirs: string) =>
    error("field-differs", `the destination expects "${theirs}" here; the fields after it were not compared`),
  fieldRenamed: (theirs: string) =>
    warning(
      "field-renamed",
      `the destination has "${theirs}" here, of the same size: names are not sent, so it is harmless if it means the same`,
    ),

  countDiffers: (ours: number, theirs: number) =>
    error("count-differs", `${elements(ours)}, in the destination ${theirs}: it would read the next bytes wrong`),
  /** From a description alone, without the values beside it. */
  countMayDiffer: (ours: number, theirs: number) =>
    warning("count-differs", `${elements(ours)}, in the destination ${theirs}, unless the number is sent beside it`),
  valueDiffers: (ours: string, theirs: string) =>
    error("value-differs", `${ours} in the source, ${theirs} in the destination: QEMU wants the same`),
  valueTooLarge: (ours: string, theirs: string) =>
    error("value-differs", `${ours} in the source: the destination takes up to ${theirs}`),
  uuidDiffers: (ours: string, theirs: string) =>
    error("uuid-differs", `the source's UUID is ${ours}, the destination's ${theirs}: QEMU refuses another one`),
  runStateUnknown: (name: string) => error("run-state-unknown", `no QEMU has a run state "${name}"`),
  pciConfigDiffers: (register: string, ours: string, theirs: string, hint: string) =>
    error("pci-config-differs", `${register} is ${ours} in the source, ${theirs} in the destination${hint}`),
  virtioDiffers: (message: string) => error("virtio-differs", message),
  virtioFeatureMissing: (name: string, property: string | undefined) =>
    error(
      "virtio-feature-missing",
      `the guest uses ${name}, which the destination does not offer${property === undefined ? "" : `: property "${property}"`}`,
    ),
  virtioFeatureUnknown: (name: string, property: string | undefined) =>
    warning(
      "virtio-feature-missing",
      `the guest uses ${name}; whether the destination offers it is unknown, because no driver has used it there${property === undefined ? "" : ` (property "${property}")`}`,
    ),

  structureDiffers: (ours: string, theirs: string) =>
    error("description-differs", `a "${ours}", in the destination a "${theirs}"`),
  structureUndescribed: (ours: string) =>
    error("description-missing", `a "${ours}", which has no description in the destination`),
  typeDiffers: (ours: string, theirs: string) =>
    error("type-differs", `of type "${ours}", in the destination "${theirs}"`),
  sizeDiffers: (ours: string, theirs: string) =>
    error("size-differs", `of ${ours} bytes, in the destination ${theirs}`),
  /** In a stream, a buffer of another length may only mean that the device was configured in another way. */
  configuredSizeDiffers: (ours: string, theirs: string) =>
    warning("size-differs", `of ${ours} bytes, in the destination ${theirs}`),
  sizeInMemoryDiffers: (inStream: number, inMemory: number) =>
    error(
      "size-differs",
      `${inStream} bytes in the stream are not a multiple of the ${inMemory} bytes that an element has`,
    ),
} as const;
