// What QEMU would say of a finding, so that `explain` can say what that means.

import { type CheckFinding, type FieldNode, type Migration, sectionLabel, walkFields } from "../../migration/index.ts";

/** QEMU's lines when `b` is told to load `a`; for a finding that QEMU does not name itself, where it fails. */
export function refusal(finding: CheckFinding, a: Migration, b: Migration): string {
  const outcome = finding.code === "subsection-missing" ? "No such file or directory" : "Invalid argument";
  return `${lineOf(finding, a, b) ?? ""}\n${place(finding, a)}\nload of migration failed: ${outcome}\n`;
}

function lineOf({ code, section, path, message }: CheckFinding, a: Migration, b: Migration): string | undefined {
  const ours = sectionOf(a, section);
  const theirs = sectionOf(b, section);
  const block = (migration: Migration) => migration.ram?.blocks.find(({ name }) => name === path)?.usedLength ?? 0;
  switch (code) {
    case "machine-differs":
      return `Machine type received is '${a.machine}' and local is '${b.machine}'`;
    case "ram-block-missing":
      return `Unknown ramblock "${path || (/"(.+)"/.exec(message)?.[1] ?? "")}", cannot accept migration`;
    case "ram-size-differs":
      return `Size mismatch: ${path}: 0x${block(a).toString(16)} != 0x${block(b).toString(16)}`;
    case "section-missing":
      return `Unknown section or instance '${ours?.name ?? section}' ${ours?.instance ?? 0}`;
    case "version-too-new":
      return path === "" && ours !== undefined
        ? `unsupported version ${ours.version} for '${ours.name}' v${theirs?.version ?? 0}`
        : undefined;
    case "uuid-differs":
      return `UUID received is ${a.configuration?.uuid} and local is ${b.configuration?.uuid}`;
    case "pci-config-differs":
      return configLine(ours?.fields ?? [], theirs?.fields ?? [], path);
    case "virtio-feature-missing":
      return featureLine(ours?.fields ?? [], theirs?.fields ?? []);
    default:
      return undefined;
  }
}

function place({ code, section, path }: CheckFinding, a: Migration): string {
  const ours = sectionOf(a, section);
  if (ours === undefined) return "";
  // Of a subsection that it does not know, QEMU says only the device.
  const field =
    path === "" || code === "subsection-missing"
      ? ""
      : `Failed to load ${ours.name.split("/").at(-1)}:${path.replaceAll("/", ".")}\n`;
  return `${field}error while loading state for instance 0x${ours.instance.toString(16)} of device '${ours.name}'`;
}

function sectionOf({ sections }: Migration, label: string) {
  return sections.find((one) => (one.type === "full" || one.type === "start") && sectionLabel(one) === label);
}

function fieldAt(fields: readonly FieldNode[], path: string): FieldNode | undefined {
  for (const walked of walkFields(fields)) if (walked.path === path) return walked.field;
  return undefined;
}

/** The first byte of a PCI register that differs. */
function configLine(ours: readonly FieldNode[], theirs: readonly FieldNode[], path: string): string | undefined {
  const config =
    fieldAt(ours, path.slice(0, path.lastIndexOf("/config") + "/config".length)) ?? fieldAt(ours, "config");
  const [one, other] = [fieldAt(ours, path), fieldAt(theirs, path)];
  if (config === undefined || typeof one?.value !== "number" || typeof other?.value !== "number") return undefined;
  for (let at = 0; at < one.size; at++) {
    const byte = (value: number): number => Math.floor(value / 256 ** at) % 256;
    const [read, device] = [byte(one.value), byte(other.value)];
    const index = one.offset - config.offset + at;
    if (read !== device) {
      return `Bad config data: i=0x${index.toString(16)} read: ${read.toString(16)} device: ${device.toString(16)} cmask: ff wmask: 0 w1cmask: 0`;
    }
  }
  return undefined;
}

function featureLine(ours: readonly FieldNode[], theirs: readonly FieldNode[]): string {
  return `Features 0x${featuresOf(ours).toString(16)} unsupported. Allowed features: 0x${featuresOf(theirs).toString(16)}`;
}

/** All 64: a stream has the lower half once more by itself. */
function featuresOf(fields: readonly FieldNode[]): bigint {
  let all = 0n;
  for (const { path, field } of walkFields(fields)) {
    const { value } = field;
    const isNumber = typeof value === "number" || typeof value === "bigint";
    if (isNumber && /(^|\/)guest_features\/bits$/.test(path) && !path.includes("128bit")) all |= BigInt(value);
  }
  return all;
}
