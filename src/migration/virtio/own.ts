// What each type of virtio device sends between its queues and its subsections (QEMU 10.0 hw/net/virtio-net.c,
// hw/block/virtio-blk.c, hw/char/virtio-serial-bus.c, hw/virtio/virtio-balloon.c, virtio-mem.c, virtio-iommu.c).

import { array } from "../../vmstate/fields/arrays.ts";
import { buffer, vbuffer } from "../../vmstate/fields/buffers.ts";
import { existsIf } from "../../vmstate/fields/gated.ts";
import { bool, uint8, uint16, uint32, uint64 } from "../../vmstate/fields/integers.ts";
import { struct } from "../../vmstate/fields/struct.ts";
import { bitmap } from "../../vmstate/fields/values.ts";
import { type AnyField, type Field, misfit, type NamedField } from "../../vmstate/types.ts";
import { littleUint32, type PlainDescription, plain } from "./kinds.ts";

type Plain = Record<string, unknown>;

/** A form of a device's own part, made when it is tried and then kept. */
type OwnForm = () => readonly NamedField[];

/**
 * The forms that the own part of a device of this type may have, likeliest first: the stream does not say which, only one of
 * them fits. Empty for a type that sends nothing of its own, or is unknown.
 */
export function ownForms(type: string | undefined, size: number): readonly OwnForm[] {
  return type === "mem" ? memForms(size) : (forms.get(type) ?? []);
}

function own(description: PlainDescription): NamedField {
  return { name: "device", field: struct(description) as AnyField };
}

const forms: ReadonlyMap<string | undefined, readonly OwnForm[]> = new Map([
  ["net", eachOf(([pairs, offloads]) => [own(net(pairs, !offloads))])],
  ["blk", eachOf(([several, packed]) => [requests(several, packed)])],
  ["console", [false, true].map((packed) => once(() => serial(packed)))],
  ["balloon", [once(() => [own(balloon())])]],
  ["iommu", [once(() => [own(plain("virtio-iommu-device", 2, { domains: noDomains(), bypass: uint8() }))])]],
]);

/** A form for each of two choices, the second changing first. */
function eachOf(make: (choice: readonly [boolean, boolean]) => readonly NamedField[]): OwnForm[] {
  const choices = [false, true];
  return choices.flatMap((first) => choices.map((second) => once(() => make([first, second]))));
}

function once<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => {
    made ??= make();
    return made;
  };
}

/** `pairs`: the device has several queue pairs. `offloads`: the host offers CTRL_GUEST_OFFLOADS. */
function net(pairs: boolean, offloads: boolean): PlainDescription {
  const waiting = plain("virtio-net-queue-tx_waiting", 0, { tx_waiting: uint32() });
  return plain(
    "virtio-net-device",
    11,
    {
      mac: array(uint8(), 6),
      vqs: struct(waiting),
      mergeable_rx_bufs: uint32(),
      status: uint16(),
      promisc: uint8(),
      allmulti: uint8(),
      "mac_table.in_use": uint32(),
      "mac_table.macs": vbuffer("mac_table.in_use", { times: 6 }),
      vlans: buffer(512),
      has_vnet_hdr: uint32(),
      "mac_table.multi_overflow": uint8(),
      "mac_table.uni_overflow": uint8(),
      alluni: uint8(),
      nomulti: uint8(),
      nouni: uint8(),
      nobcast: uint8(),
      has_ufo: uint8(),
      ...(pairs ? { max_queue_pairs: uint16(), curr_queue_pairs: uint16() } : {}),
      vqs_1: counted(uint32(), 4, ({ curr_queue_pairs: current }) => Number(current ?? 1) - 1),
      ...(offloads ? { curr_guest_offloads: uint64() } : {}),
    },
    [rss()],
  );
}

const rss = () =>
  plain("virtio-net-device/rss", 1, {
    enabled: bool(),
    redirect: bool(),
    populate_hash: bool(),
    hash_types: uint32(),
    indirections_len: uint16(),
    default_queue: uint16(),
    key: buffer(40),
    indirections_table: counted(uint16(), 2, ({ indirections_len: length }) => Number(length)),
  });

/** `several`: the device has several queues, so each request says its own. `packed`: the host offers packed rings. */
function requests(several: boolean, packed: boolean): NamedField {
  const request = plain("request", 0, { ...(several ? { queue: uint32() } : {}), ...element(packed) });
  return { name: "requests", field: flagged(request) as AnyField };
}

/** A request that was taken from a queue: QEMU copies its structure, so this is the form of 64-bit little-endian hosts. */
function element(packed: boolean): Readonly<Record<string, AnyField>> {
  return {
    ...(packed ? { ndescs: uint32() } : {}),
    index: littleUint32(),
    out_num: littleUint32(),
    in_num: littleUint32(),
    padding: buffer(4),
    in_addr: buffer(8192),
    out_addr: buffer(8192),
    in_sg: buffer(16384),
    out_sg: buffer(16384),
  };
}

function serial(packed: boolean): NamedField[] {
  const popped = ({ elem_popped: value }: Plain): boolean => value !== 0;
  const whenPopped = (fields: Readonly<Record<string, AnyField>>) =>
    Object.fromEntries(
      Object.entries(fields).map(([name, field]) => [
        name,
        existsIf<unknown, Plain>(["elem_popped"], popped, field as Field<unknown>) as AnyField,
      ]),
    );
  const port = plain("port", 0, {
    id: uint32(),
    guest_connected: uint8(),
    host_connected: uint8(),
    elem_popped: uint32(),
    ...whenPopped({ iov_idx: uint32(), iov_offset: uint64(), ...element(packed) }),
  });
  const device = plain("virtio-serial", 0, {
    cols: uint16(),
    rows: uint16(),
    max_nr_ports: uint32(),
    ports_map: counted(uint32(), 4, ({ max_nr_ports: ports }) => Math.ceil(Number(ports) / 32)),
    nr_active_ports: uint32(),
    ports: counted(struct(port), 10, ({ nr_active_ports: ports }) => Number(ports)),
  });
  return [own(device)];
}

const balloon = () =>
  plain("virtio-balloon-device", 1, { num_pages: uint32(), actual: uint32() }, [
    plain("virtio-balloon-device/free-page-report", 1, {
      free_page_hint_cmd_id: uint32(),
      free_page_hint_status: uint32(),
    }),
    plain("virtio-balloon-device/page-poison", 1, { poison_val: uint32() }),
  ]);

/** With the property x-early-migration (the default from 8.1 on) most of it is a section of its own. */
function memForms(size: number): OwnForm[] {
  const early = () => plain("virtio-mem-device", 1, { usable_region_size: uint64(), requested_size: uint64() });
  // The bitmap has a bit for each block, and nothing says how many before the device is read.
  const late = () =>
    plain("virtio-mem-device", 1, {
      addr: uint64(),
      region_size: uint64(),
      block_size: uint64(),
      node: uint32(),
      usable_region_size: uint64(),
      size: uint64(),
      requested_size: uint64(),
      bitmap: blocks(size * 8),
    });
  return [() => [own(early())], () => [own(late())]];
}

function blocks(most: number): AnyField {
  const bits = ({ region_size: region, block_size: block }: Plain) =>
    Math.min(most, block === 0n ? 0 : Math.ceil(Number(region) / Number(block)));
  const field: Field<bigint> = {
    ...bitmap(64),
    size: undefined,
    minimum: 0,
    load: (reader, current, siblings) => bitmap(bits(siblings)).load(reader, current, siblings),
    save: (writer, value, siblings) => bitmap(bits(siblings)).save(writer, value, siblings),
  };
  return field as AnyField;
}

/** The tree of a machine whose guest uses no domain. Another one stays bytes, as of a device that is unknown. */
function noDomains(): AnyField {
  const field: Field<number> = {
    type: "gtree",
    size: 5,
    load: (reader) => {
      const count = reader.uint32();
      if (count !== 0 || reader.uint8() !== 0) throw reader.error("ERR_COUNT", "expected no domain");
      return 0;
    },
    save: (writer, value) => {
      if (value !== 0) throw misfit("0", value);
      writer.uint32(0);
      writer.uint8(0);
    },
  };
  return field as AnyField;
}

/** An array whose length what comes before it tells. Elements have `least` bytes at least. */
function counted<T>(element: Field<T>, least: number, count: (siblings: Plain) => number): AnyField {
  const field: Field<T[]> = {
    ...array(element, 0),
    size: undefined,
    minimum: 0,
    load: (reader, current, siblings) => {
      const length = count(siblings);
      if (!(length >= 0) || length * least > reader.remaining)
        throw reader.error("ERR_COUNT", `${length} elements do not fit into ${reader.remaining} bytes`);
      return array(element, length).load(reader, current, siblings);
    },
    save: (writer, value, siblings) => array(element, count(siblings)).save(writer, value, siblings),
  };
  return field as AnyField;
}

/** A byte 01 before each element, 00 after the last. */
function flagged(description: PlainDescription): Field<Plain[]> {
  const element = struct(description);
  return {
    type: "list",
    minimum: 1,
    descriptions: [description],
    load: (reader) => {
      const elements: Plain[] = [];
      while (reader.flag("one more element")) {
        reader.observer?.enter(elements.length, element.type, reader.offset, description.name);
        elements.push(element.load(reader, undefined, {}));
        reader.observer?.leave(reader.offset, elements.at(-1));
      }
      return elements;
    },
    save: (writer, value) => {
      if (!Array.isArray(value)) throw misfit("an array", value);
      for (const one of value) {
        writer.uint8(1);
        element.save(writer, one, {});
      }
      writer.uint8(0);
    },
  };
}
