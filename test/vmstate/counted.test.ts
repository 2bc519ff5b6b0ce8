// Values that bring their own length.
import { capability, type Field, gbytearray, vmstate } from "../../src/vmstate/index.ts";
import { bytesOf, invalidTable, validTable } from "./table.ts";

const one = <T>(field: Field<T>) => vmstate({ name: "one", version: 1, fields: { value: field } });

validTable("capability", one(capability()), [
  { state: { value: "mapped-ram" }, hex: "0a 6d61707065642d72616d" },
  { state: { value: "" }, hex: "00" },
  { title: "a length above 127", state: { value: "x".repeat(200) }, hex: `c8 ${"78".repeat(200)}` },
]);
invalidTable("capability", one(capability()), [
  { hex: "0a 6d61", code: "ERR_EOF", path: "one/value", offset: 1 },
  { title: "256 bytes", state: { value: "x".repeat(256) }, code: "ERR_VALUE", path: "one/value" },
  { state: { value: 1 }, code: "ERR_VALUE", path: "one/value" },
]);
invalidTable("capability that is not known", one(capability({ known: ["mapped-ram"] })), [
  { hex: "02 7879", code: "ERR_RANGE", path: "one/value", offset: 0 },
]);

validTable("GByteArray", one(gbytearray(4)), [
  { state: { value: bytesOf("") }, hex: "00000000" },
  { state: { value: bytesOf("010203") }, hex: "00000003 010203" },
]);
invalidTable("GByteArray", one(gbytearray(4)), [
  { hex: "00000005 0102030405", code: "ERR_LIMIT", path: "one/value", offset: 0 },
  { hex: "ffffffff", code: "ERR_LIMIT", path: "one/value", offset: 0 },
  { hex: "00000003 0102", code: "ERR_EOF", path: "one/value", offset: 4 },
  { state: { value: bytesOf("0102030405") }, code: "ERR_VALUE", path: "one/value" },
]);
