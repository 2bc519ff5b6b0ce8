// A Linux program for x86-64 that sends each UDP packet on port 7 back to where it came from, with the number of packets that
// it has got so far in the bytes 4 to 7 (little endian): so the other end knows how many were lost on the way there, and
// how many on the way back.
import { assemble, type Line, short } from "./assemble.ts";

/** Where it is loaded: a page for the headers and the code, and one for the packet behind them. */
const base = 0x400000;
const sender = base + 0x700;
const packet = base + 0x800;
const packetBytes = 0x800;

const program: readonly Line[] = [
  ...call(
    41,
    ["mov edi, AF_INET", 0x6a, 2, 0x5f],
    ["mov esi, SOCK_DGRAM", 0x6a, 2, 0x5e],
    ["xor edx, edx", 0x31, 0xd2],
  ),
  ["mov ebx, eax", 0x89, 0xc3],
  ["push 0", 0x6a, 0],
  ["push AF_INET, port 7 (any address)", 0x68, 2, 0, 0, 7],
  ...call(49, ["mov rsi, rsp", 0x48, 0x89, 0xe6], ["mov edi, ebx", 0x89, 0xdf], ["mov edx, 16", 0x6a, 16, 0x5a]),
  ["xor ebp, ebp", 0x31, 0xed],
  "next",
  ["push 16 (bytes of the sender's address)", 0x6a, 16],
  ["mov r9, rsp", 0x49, 0x89, 0xe1],
  ...call(45, ...about(), ["mov edx, bytes", 0xba, ...dword(packetBytes)]),
  ["pop rcx", 0x59],
  ["test eax, eax", 0x85, 0xc0],
  ["js next", 0x78, short("next")],
  ["inc ebp", 0xff, 0xc5],
  ["mov [packet + 4], ebp", 0x89, 0x2c, 0x25, ...dword(packet + 4)],
  ["mov edx, eax", 0x89, 0xc2],
  ...call(44, ...about(), ["mov r9d, 16", 0x6a, 16, 0x41, 0x59]),
  ["jmp next", 0xeb, short("next")],
];

/** A system call by its number, behind what sets its arguments. */
function call(number: number, ...lines: readonly Line[]): Line[] {
  return [...lines, [`mov eax, ${number}`, 0x6a, number, 0x58], ["syscall", 0x0f, 0x05]];
}

/** What recvfrom and sendto are told alike: socket, packet, no flags, the other end's address. */
function about(): Line[] {
  return [
    ["mov edi, ebx", 0x89, 0xdf],
    ["mov esi, packet", 0xbe, ...dword(packet)],
    ["xor r10d, r10d", 0x45, 0x31, 0xd2],
    ["mov r8d, sender", 0x41, 0xb8, ...dword(sender)],
  ];
}

function dword(value: number): number[] {
  return [...new Uint8Array(new Uint32Array([value]).buffer)];
}

/** The program as an ELF file. */
export function udpEcho(): Uint8Array {
  const [headerBytes, segmentBytes] = [64, 56];
  const start = headerBytes + segmentBytes;
  const code = assemble(0, program);
  const file = new Uint8Array(start + code.length);
  file.set(code, start);
  const view = new DataView(file.buffer);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 2, true); // a program
  view.setUint16(18, 62, true); // x86-64
  view.setUint32(20, 1, true);
  view.setBigUint64(24, BigInt(base + start), true);
  view.setBigUint64(32, BigInt(headerBytes), true);
  view.setUint16(52, headerBytes, true);
  view.setUint16(54, segmentBytes, true);
  view.setUint16(56, 1, true);
  // One segment, to be loaded: readable, writable, executable.
  view.setUint32(headerBytes, 1, true);
  view.setUint32(headerBytes + 4, 7, true);
  view.setBigUint64(headerBytes + 16, BigInt(base), true);
  view.setBigUint64(headerBytes + 24, BigInt(base), true);
  view.setBigUint64(headerBytes + 32, BigInt(file.length), true);
  view.setBigUint64(headerBytes + 40, BigInt(packet + packetBytes - base), true);
  view.setBigUint64(headerBytes + 48, 0x1000n, true);
  return file;
}
