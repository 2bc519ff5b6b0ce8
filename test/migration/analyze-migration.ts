// Shows our fields as QEMU's analyze-migration.py prints them, so that the two can be compared value by value.
import type { FieldNode, Migration, Section } from "../../src/migration/index.ts";

/** The script's `-d state` output, made from `migration`. */
export function asScriptPrints(migration: Migration): Record<string, unknown> {
  const shown: Record<string, unknown> = {};
  for (const section of migration.sections) {
    const key = `${section.name} (${section.id})`;
    if (section.name === "ram") {
      const blocks = migration.ram?.blocks ?? [];
      shown[key] = {
        "section sizes": Object.fromEntries(blocks.map((b) => [b.name, hexOf(BigInt(b.usedLength), 16)])),
      };
    } else if (section.type === "full") shown[key] = bodyOf(section.fields, section);
  }
  return shown;
}

function bodyOf(fields: readonly FieldNode[], section: Section): Record<string, unknown> {
  return Object.fromEntries(fields.map((field) => [field.name, show(field, section)]));
}

/** Opened here, but not there. */
const opaque = new Set(["virtio", "virtio-gpu", "pci config", "pci irq state", "msix state", "shpc", "scsi-requests"]);

function show(field: FieldNode, section: Section): unknown {
  const { type, value, fields } = field;
  if (opaque.has(type)) return raw(field, section);
  if (type === "struct" || type === "subsection") {
    if (fields === undefined || fields.length === 0) return {};
    return typeof fields[0]?.name === "number" ? elements(fields, section) : bodyOf(fields, section);
  }
  if (Array.isArray(value)) {
    if (value.length === 0 && field.size > 0) return raw(field, section);
    return value.map((one) => (one === null ? null : scalar(type, one, field, section)));
  }
  // The script does not know these: it shows their bytes.
  if (fields !== undefined)
    return typeof fields[0]?.name === "number" ? elements(fields, section) : raw(field, section);
  return scalar(type, value, field, section);
}

function elements(fields: readonly FieldNode[], section: Section): unknown[] {
  return fields.map((field) => show(field, section));
}

const signed = new Set([
  "int8",
  "int16",
  "int32",
  "int64",
  "int32 equal",
  "int32 le",
  "int64 equal",
  "uint8 equal",
  "uint16 equal",
]);
const sizes: Readonly<Record<string, number>> = { "8": 1, "16": 2, "32": 4, "64": 8 };

function scalar(type: string, value: unknown, field: FieldNode, section: Section): unknown {
  const match = /^u?int(8|16|32|64)( equal| le)?$/.exec(type);
  if (match !== null) {
    const size = sizes[match[1] as string] as number;
    const number = BigInt(value as number | bigint);
    if (!signed.has(type)) return hexOf(number, size * 2);
    const asSigned = BigInt.asIntN(size * 8, number);
    const text = hexOf(BigInt.asUintN(size * 8, number), size * 2);
    return asSigned < 0n ? `${text} (${asSigned})` : text;
  }
  if (type === "bool" || type === "capability") return value;
  if (type === "nullptr") return "nullptr";
  if (type === "ptr-marker") return null;
  return raw(field, section);
}

function raw(field: FieldNode, section: Section): string {
  const start = field.offset - section.bodyOffset;
  const bytes = section.device?.body.subarray(start, start + field.size) ?? [];
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
}

function hexOf(value: bigint, digits: number): string {
  return `0x${value.toString(16).padStart(digits, "0")}`;
}
