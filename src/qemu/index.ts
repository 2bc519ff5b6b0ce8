// Works on real QEMUs: QMP, the tap on the CPR channel.

export type { Carried } from "./carry/subject.ts";
export type { CommandOption } from "./command-line/parse.ts";
export { type Ensured, type EnsureOptions, type EnsureResult, ensureUpdated } from "./ensure/ensure.ts";
export type { FdFate, VmFd } from "./fds/fate.ts";
export { listVmFds, type VmFdsOptions } from "./fds/list.ts";
export { reportVmFds, type VmFdsReport } from "./fds/report.ts";
export { type Finding, type FindingCode, findingCodes } from "./finding.ts";
export { type TakenVmFds, takeOwnFds, takeVmFds } from "./handover/own-fds.ts";
export { type ExamineHostOptions, examineHost } from "./host/examine.ts";
export { type HostFact, type HostSubject, hostSubjects } from "./host/fact.ts";
export { type DifferenceReason, differenceReasons, type MachineDifference } from "./machine/by-design.ts";
export {
  type CompareOptions,
  compareMachines,
  type ExpectedDifference,
  type MachineComparison,
} from "./machine/compare.ts";
export { readMachine } from "./machine/read.ts";
export { type Machine, machineSchema } from "./machine/schema.ts";
export { findVms, type RunningVm } from "./many/find.ts";
export { type ListedVm, type ListVmsOptions, listVms } from "./many/list.ts";
export { makeTurns, type Turns } from "./many/turns.ts";
export { type UpdateManyEvent, type UpdateManyOptions, type UpdateOutcome, updateMany } from "./many/update-many.ts";
export type { CopyEstimate } from "./preflight/copy-estimate.ts";
export type { UpdateRequest } from "./preflight/facts.ts";
export { type PreflightOptions, type PreflightReport, preflight, type UpdateWay } from "./preflight/preflight.ts";
export {
  type ConnectQmpOptions,
  connectQmp,
  type ExecuteOptions,
  type Qmp,
  type QmpCloseReason,
  type QmpGreeting,
  type QmpTarget,
} from "./qmp/client.ts";
export type { QmpEvent, QmpEvents, WaitForEventOptions } from "./qmp/events.ts";
export { type QmpCommand, type QmpReturn, qmpReturns } from "./qmp/schema.ts";
export { type PassedEntry, type PassedState, type TapOptions, type TapResult, tap } from "./tap.ts";
export type {
  CarriedFd,
  CopyProgress,
  DisplayPasswords,
  UpdateComparison,
  UpdateHooks,
  UpdateOptions,
  UpdatePlan,
  UpdateProcesses,
  UpdateReport,
} from "./update/options.ts";
export type { PeerState } from "./update/peers/peer.ts";
export { planUpdate } from "./update/plan.ts";
export type { JournalReport } from "./update/record/reports.ts";
export { abortUpdate, type RecoverOptions, type Recovery, resumeUpdate } from "./update/recover.ts";
export {
  allStatus,
  type QemuStatus,
  type StatusOptions,
  type StatusProblem,
  type VmStatus,
  vmStatus,
} from "./update/status.ts";
export { allSteps, type UpdateStep, updateSteps } from "./update/steps.ts";
export { updateVm } from "./update/update.ts";
export { type CprModeName, cprModes, type UpdateModeName, updateModes } from "./vm/binary.ts";
export type { VmTarget } from "./vm/open.ts";
