// bzip2, decoded block by block: memory is a block (at most 900 kB, and its tables), whatever the length of the whole.
// There is no published description but the program itself and the many decoders after it; docs/decisions/0015 says why
// this is here.

import { cutShort, damaged, type Queue, queueOf, take, waiting } from "./queue.ts";

/** A code has at most 20 bits, a block 900,000 symbols and a few: what a whole block can take, and its tables. */
const maxBlockBytes = 2_400_000;
const chunkSize = 256 * 1024;
const maxCodeLength = 20;
const groupSize = 50;
const quickBits = 10;

/** The bytes that were compressed. Ends the iteration with ERR_BAD_STREAM or ERR_EOF. */
export async function* bunzip2(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
  const { queue, fill, close } = queueOf(chunks);
  try {
    while (await fill(4)) {
      const [b, z, h, level = 0] = take(queue, 4);
      if (b !== 0x42 || z !== 0x5a || h !== 0x68 || level < 0x31 || level > 0x39) return;
      const bits = { queue, held: 0, count: 0 };
      const work = newBlock((level - 0x30) * 100_000);
      for (;;) {
        await fill(maxBlockBytes);
        const [high, low] = [readBits(bits, 24), readBits(bits, 24)];
        if (high === 0x177245 && low === 0x385090) break;
        if (high !== 0x314159 || low !== 0x265359) throw damaged("expected a block of bzip2");
        const check = readBits(bits, 16) * 0x10000 + readBits(bits, 16);
        readBlock(bits, work);
        yield* expand(work, check);
      }
      // The check value of all blocks together, and what is left of the last byte: each block was checked.
      readBits(bits, 16);
      readBits(bits, 16);
      queue.pos -= bits.count >> 3;
    }
    if (waiting(queue) > 0 && queue.bytes[queue.pos] === 0x42) throw cutShort("the header of bzip2");
  } finally {
    await close();
  }
}

interface Bits {
  readonly queue: Queue;
  held: number;
  count: number;
}

/** Up to 24 bits, the first one highest. */
function readBits(bits: Bits, wanted: number): number {
  const { queue } = bits;
  while (bits.count < wanted) {
    if (queue.pos >= queue.end) throw cutShort("a block of bzip2");
    bits.held = (bits.held << 8) | (queue.bytes[queue.pos++] as number);
    bits.count += 8;
  }
  bits.count -= wanted;
  return (bits.held >>> bits.count) & ((1 << wanted) - 1);
}

/** One block, before the last step. */
interface Block {
  readonly size: number;
  /** The sorted bytes; after {@link readBlock} the place of the byte that follows is in the upper 24 bits. */
  readonly places: Uint32Array;
  length: number;
  first: number;
}

function newBlock(size: number): Block {
  return { size, places: new Uint32Array(size), length: 0, first: 0 };
}

function readBlock(bits: Bits, block: Block): void {
  if (readBits(bits, 1) !== 0) throw damaged("a block of bzip2 0.9.0 or older, which is not read");
  block.first = readBits(bits, 24);
  const symbols = readSymbols(bits);
  const groups = readBits(bits, 3);
  const selectorCount = readBits(bits, 15);
  if (groups < 2 || groups > 6 || selectorCount === 0) throw damaged("the tables of a bzip2 block");
  const selectors = readSelectors(bits, groups, selectorCount);
  const tables = Array.from({ length: groups }, () => readTable(bits, symbols.length + 2));
  const counts = new Uint32Array(256);
  const end = symbols.length + 1;
  let length = 0;
  let run = 0;
  let weight = 1;
  const { places, size } = block;
  for (let group = 0, left = groupSize, table = tables[selectors[0] as number]; ; ) {
    if (left === 0) {
      group += 1;
      left = groupSize;
      table = tables[selectors[group] ?? -1];
    }
    if (table === undefined) throw damaged("a bzip2 block has more codes than selectors");
    left -= 1;
    const symbol = readSymbol(bits, table);
    if (symbol <= 1) {
      run += weight << symbol;
      weight *= 2;
      if (length + run > size) throw damaged("a bzip2 block that is longer than its header says");
      continue;
    }
    if (run > 0) {
      const byte = symbols[0] as number;
      counts[byte] = (counts[byte] as number) + run;
      places.fill(byte, length, length + run);
      length += run;
      run = 0;
      weight = 1;
    }
    if (symbol === end) break;
    if (length >= size) throw damaged("a bzip2 block that is longer than its header says");
    const byte = symbols[symbol - 1] as number;
    // The place is low mostly: a loop is faster than a call.
    for (let at = symbol - 1; at > 0; at--) symbols[at] = symbols[at - 1] as number;
    symbols[0] = byte;
    counts[byte] = (counts[byte] as number) + 1;
    places[length++] = byte;
  }
  if (block.first >= length) throw damaged("a bzip2 block begins outside of itself");
  block.length = length;
  sort(block, counts);
}

/** The bytes that occur in the block, in order. */
function readSymbols(bits: Bits): Uint8Array {
  const ranges = readBits(bits, 16);
  const found: number[] = [];
  for (let range = 0; range < 16; range++) {
    if ((ranges & (0x8000 >> range)) === 0) continue;
    const used = readBits(bits, 16);
    for (let byte = 0; byte < 16; byte++) if ((used & (0x8000 >> byte)) !== 0) found.push(range * 16 + byte);
  }
  if (found.length === 0) throw damaged("a bzip2 block without bytes");
  return Uint8Array.from(found);
}

/** Which table each group of 50 symbols uses. */
function readSelectors(bits: Bits, groups: number, count: number): Uint8Array {
  const order = Uint8Array.from({ length: groups }, (_, index) => index);
  const selectors = new Uint8Array(count);
  for (let at = 0; at < count; at++) {
    let place = 0;
    while (readBits(bits, 1) === 1) {
      place += 1;
      if (place >= groups) throw damaged("the selectors of a bzip2 block");
    }
    const selector = order[place] as number;
    order.copyWithin(1, 0, place);
    order[0] = selector;
    selectors[at] = selector;
  }
  return selectors;
}

/** A canonical Huffman code: of each length the highest code, and where its symbols begin. */
interface Table {
  /** By the next ten bits: the symbol, and above it the length of its code; 0 for a longer one. */
  readonly quick: Uint16Array;
  readonly limits: Int32Array;
  readonly offsets: Int32Array;
  readonly symbols: Uint16Array;
}

function readTable(bits: Bits, size: number): Table {
  const lengths = new Uint8Array(size);
  let length = readBits(bits, 5);
  for (let symbol = 0; symbol < size; symbol++) {
    for (;;) {
      if (length < 1 || length > maxCodeLength) throw damaged("the code of a bzip2 block");
      if (readBits(bits, 1) === 0) break;
      length += readBits(bits, 1) === 0 ? 1 : -1;
    }
    lengths[symbol] = length;
  }
  const limits = new Int32Array(maxCodeLength + 1).fill(-1);
  const offsets = new Int32Array(maxCodeLength + 1);
  const symbols = new Uint16Array(size);
  const quick = new Uint16Array(1 << quickBits);
  let code = 0;
  let count = 0;
  for (let width = 1; width <= maxCodeLength; width++) {
    offsets[width] = count - code;
    for (let symbol = 0; symbol < size; symbol++) {
      if (lengths[symbol] !== width) continue;
      symbols[count++] = symbol;
      if (width <= quickBits) {
        const rest = quickBits - width;
        quick.fill((width << 10) | symbol, code << rest, (code + 1) << rest);
      }
      code += 1;
    }
    limits[width] = code - 1;
    code <<= 1;
  }
  return { quick, limits, offsets, symbols };
}

function readSymbol(bits: Bits, { quick, limits, offsets, symbols }: Table): number {
  const { queue } = bits;
  while (bits.count < quickBits && queue.pos < queue.end) {
    bits.held = (bits.held << 8) | (queue.bytes[queue.pos++] as number);
    bits.count += 8;
  }
  if (bits.count >= quickBits) {
    const entry = quick[(bits.held >>> (bits.count - quickBits)) & ((1 << quickBits) - 1)] as number;
    if (entry !== 0) {
      bits.count -= entry >> 10;
      return entry & 0x3ff;
    }
  }
  let code = 0;
  for (let width = 1; width <= maxCodeLength; width++) {
    code = (code << 1) | readBits(bits, 1);
    if (code <= (limits[width] as number)) {
      const symbol = symbols[(offsets[width] as number) + code];
      if (symbol !== undefined) return symbol;
    }
  }
  throw damaged("a code of bzip2 that means nothing");
}

/** Links the sorted bytes to the order in which they were (Burrows-Wheeler). */
function sort({ places, length }: Block, counts: Uint32Array): void {
  let sum = 0;
  const starts = counts.map((count) => {
    sum += count;
    return sum - count;
  });
  for (let at = 0; at < length; at++) {
    const byte = (places[at] as number) & 0xff;
    const place = starts[byte] as number;
    starts[byte] = place + 1;
    places[place] = ((places[place] as number) & 0xff) | (at << 8);
  }
}

/** The block's bytes: four equal ones are followed by how many more there are. */
function* expand({ places, length, first }: Block, check: number): Generator<Uint8Array, void, void> {
  // Room for the longest run behind a full chunk.
  let out = new Uint8Array(chunkSize + 256);
  let used = 0;
  let crc = 0xffff_ffff;
  let entry = places[first] as number;
  let equal = 0;
  let last = -1;
  for (let at = 0; at < length; at++) {
    entry = places[entry >>> 8] as number;
    const byte = entry & 0xff;
    if (equal === 4) {
      // How many more there are of the last one.
      equal = 0;
      for (let i = 0; i < byte; i++) crc = (crc << 8) ^ (crcTable[(crc >>> 24) ^ last] as number);
      out.fill(last, used, used + byte);
      used += byte;
      last = -1;
    } else {
      equal = byte === last ? equal + 1 : 1;
      last = byte;
      crc = (crc << 8) ^ (crcTable[(crc >>> 24) ^ byte] as number);
      out[used++] = byte;
    }
    if (used > chunkSize) {
      yield out.subarray(0, used);
      out = new Uint8Array(chunkSize + 256);
      used = 0;
    }
  }
  if (~crc >>> 0 !== check) throw damaged("a bzip2 block does not have its check value");
  if (used > 0) yield out.subarray(0, used);
}

/** CRC-32 with the highest bit first. */
const crcTable = Int32Array.from({ length: 256 }, (_, index) => {
  let value = index << 24;
  for (let bit = 0; bit < 8; bit++) value = value < 0 ? (value << 1) ^ 0x04c1_1db7 : value << 1;
  return value;
});
