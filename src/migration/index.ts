// QEMU's main migration stream: read it, write it again, compare two.

export { checkMigration } from "./check/check.ts";
export { type CheckFinding, type CheckFindingCode, checkFindingCodes } from "./check/findings.ts";
export {
  type CheckBody,
  type CheckField,
  type CheckSection,
  type CheckSide,
  checkSideOf,
  checkSideOfJson,
} from "./check/side.ts";
export { encodeDevice } from "./device/decode.ts";
export { type Difference, type DifferenceKind, type DifferenceSide, diffMigrations } from "./diff.ts";
export { encodeMigration } from "./encode.ts";
export type { Cause } from "./explain/cause.ts";
export { type Explanation, explainLog } from "./explain/explain.ts";
export { type ExplanationCode, explanationCodes } from "./explain/rules.ts";
export { selectFields, type WalkedField, walkFields } from "./fields.ts";
export { fieldToJson, type JsonValue, migrationToJson, valueToJson } from "./json.ts";
export type {
  Command,
  Configuration,
  DeviceState,
  FieldNode,
  MappedRam,
  Migration,
  OnRamPlace,
  Ram,
  RamBlock,
  RamPage,
  RamPlaceKind,
  Section,
  SectionType,
  Trailing,
  Vmdescription,
} from "./model.ts";
export { fieldPath, sectionLabel } from "./paths.ts";
export {
  type PciCapability,
  type PciRegister,
  pciCapabilities,
  pciRegisterAt,
  pciRegisterName,
  pciRegisters,
} from "./pci/registers.ts";
export { applyXbzrle } from "./ram/xbzrle.ts";
export { type ReadMigrationOptions, readMigration, readMigrationBytes } from "./read.ts";
export { type ByteSource, bytesSource, type MigrationSource } from "./stream/source.ts";
export { type VirtioFeature, virtioFeatures, virtioType } from "./virtio/features.ts";
