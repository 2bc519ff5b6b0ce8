// What an NBD server offers, asked as a client would ask it: QEMU's monitor tells neither the names of its exports nor its
// address. Nothing is read of the disks. The protocol: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md

import { connect, type Socket } from "node:net";
import { resolve } from "node:path";
import type { Machine } from "./schema.ts";

/**
 * Looks for the NBD server among the sockets that the process listens on. Never throws.
 *
 * @param named texts in which the sockets of character devices and VNC are named
 */
export async function findNbd(
  cwd: string,
  { sockets, tcp }: Pick<Machine["process"], "sockets" | "tcp">,
  named: string,
): Promise<NbdServer | undefined> {
  const addresses: NbdServer["address"][] = [
    ...sockets.map(({ path }) => ({ type: "unix" as const, path: resolve(cwd, path) })),
    ...tcp.flatMap((at) => {
      const [, host, port] = /^\[?(.*?)\]?:(\d+)$/.exec(at) ?? [];
      return host === undefined || port === undefined ? [] : [{ type: "inet" as const, host, port }];
    }),
  ];
  for (const address of addresses) {
    if (named.includes(address.type === "unix" ? address.path : `:${address.port}`)) continue;
    const exports = await readNbd(address, 2_000);
    if (exports !== undefined) return { address, exports };
  }
  return undefined;
}

/** The exports in the order in which they were made, or undefined for what is not an NBD server, or asks for TLS. Never throws. */
async function readNbd(address: NbdServer["address"], timeoutMs: number): Promise<NbdServer["exports"] | undefined> {
  const socket = connect(
    address.type === "unix" ? { path: address.path } : { host: address.host, port: Number(address.port) },
  );
  const timer = setTimeout(() => socket.destroy(new Error("no answer in time")), timeoutMs);
  try {
    return await ask(socket);
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}

type NbdServer = NonNullable<Machine["block"]["nbd"]>;

const optionMagic = Buffer.from("IHAVEOPT");
const option = { abort: 2, list: 3, info: 6, structuredReply: 8, listMetaContext: 9 } as const;
const reply = { ack: 1, server: 2, info: 3, metaContext: 4 } as const;

/** Far more than a server has, and an end to what one may send. */
const maxReplies = 10_000;
const maxLength = 1 << 16;

async function ask(socket: Socket): Promise<NbdServer["exports"]> {
  const read = reader(socket);
  if ((await read(8)).toString("latin1") !== "NBDMAGIC" || !(await read(8)).equals(optionMagic))
    throw new Error("not NBD");
  await read(2);
  socket.write(u32(3));
  const give = (code: number, data = Buffer.alloc(0)) => haggle(socket, read, code, data);
  await give(option.structuredReply);
  const names = (await give(option.list)).flatMap(({ type, data }) => {
    if (type !== reply.server) return [];
    const length = data.readUInt32BE(0);
    return [{ name: data.toString("utf8", 4, 4 + length), description: data.toString("utf8", 4 + length) }];
  });
  const exports: NbdServer["exports"] = [];
  for (const { name, description } of names) {
    const infos = await give(option.info, Buffer.concat([text(name), Buffer.alloc(2)]));
    // Type, size, flags.
    const info = infos.find(
      ({ type, data }) => type === reply.info && data.length === 12 && data.readUInt16BE(0) === 0,
    );
    if (info === undefined) throw new Error("no information");
    const contexts = await give(option.listMetaContext, Buffer.concat([text(name), u32(1), text("qemu:")]));
    const found = contexts.flatMap(({ type, data }) => (type === reply.metaContext ? [data.toString("utf8", 4)] : []));
    exports.push({
      name,
      description,
      size: Number(info.data.readBigUInt64BE(2)),
      readOnly: (info.data.readUInt16BE(10) & 2) !== 0,
      bitmaps: found.flatMap((context) => /^qemu:dirty-bitmap:(.*)$/s.exec(context)?.[1] ?? []),
      allocationDepth: found.includes("qemu:allocation-depth"),
    });
  }
  socket.write(Buffer.concat([optionMagic, u32(option.abort), u32(0)]));
  return exports;
}

interface Reply {
  readonly type: number;
  readonly data: Buffer;
}

/** Gives an option and collects the replies, up to the one that ends them. @throws Error for one that refuses */
async function haggle(socket: Socket, read: Read, code: number, data: Buffer): Promise<Reply[]> {
  socket.write(Buffer.concat([optionMagic, u32(code), u32(data.length), data]));
  const replies: Reply[] = [];
  while (replies.length < maxReplies) {
    const head = await read(20);
    const [type, length] = [head.readUInt32BE(12), head.readUInt32BE(16)];
    const isOurs = head.readBigUInt64BE(0) === 0x0003e889045565a9n && head.readUInt32BE(8) === code;
    if (!isOurs || length > maxLength) throw new Error("not a reply");
    const body = await read(length);
    if (type >= 2 ** 31) throw new Error(`refused: ${type}`);
    if (type === reply.ack) return replies;
    replies.push({ type, data: body });
  }
  throw new Error("too many replies");
}

type Read = (length: number) => Promise<Buffer>;

function reader(socket: Socket): Read {
  const chunks = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let rest = Buffer.alloc(0);
  return async (length) => {
    while (rest.length < length) {
      const { done, value } = await chunks.next();
      if (done === true) throw new Error("hung up");
      rest = Buffer.concat([rest, value]);
    }
    const wanted = rest.subarray(0, length);
    rest = rest.subarray(length);
    return wanted;
  };
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([u32(bytes.length), bytes]);
}
