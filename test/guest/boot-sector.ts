// The smallest guest: counts on the first serial port, one line about every 10 ms, from a boot sector or as firmware.
//
// It needs no BIOS service: it sets up the interrupt controller, the timer and the serial port itself, and sleeps
// (hlt) between lines. The counter lives in RAM and goes up only once its line is out, so a number that is missing,
// repeated or zero again means that the guest lost RAM, device state or time.
import { address, assemble, type Line, near, short, word } from "./assemble.ts";

const LOAD_ADDRESS = 0x7c00;
const SECTOR_SIZE = 512;
const COUNTER = 0x7e00;
/** 1,193,182 Hz by this is 100 interrupts a second. */
const TIMER_DIVISOR = 11_932;
const TIMER_VECTOR = 0x20;

/** A bootable sector: 512 bytes, ending in 55 AA. */
export function bootSector(): Uint8Array {
  const code = assemble(LOAD_ADDRESS, COUNTING_PROGRAM);
  if (code.length > SECTOR_SIZE - 2) throw new Error(`the program has ${code.length} bytes, a boot sector holds 510`);
  const sector = new Uint8Array(SECTOR_SIZE);
  sector.set(code);
  sector.set([0x55, 0xaa], SECTOR_SIZE - 2);
  return sector;
}

/** A disk image of 1 MiB that starts with the boot sector. */
export function bootDisk(): Uint8Array {
  const disk = new Uint8Array(1 << 20);
  disk.set(bootSector());
  return disk;
}

/** The same program as a firmware image (QEMU's -bios): 64 KiB whose reset vector copies the sector to RAM. */
export function bootFirmware(): Uint8Array {
  const image = new Uint8Array(0x10000);
  image.set(bootSector(), FIRMWARE_SECTOR);
  image.set(assemble(FIRMWARE_COPIER, COPY_PROGRAM), FIRMWARE_COPIER);
  image.set(
    assemble(RESET_VECTOR, [["jmp copier", 0xe9, ...word(FIRMWARE_COPIER - (RESET_VECTOR + 3))]]),
    RESET_VECTOR,
  );
  return image;
}

const FIRMWARE_SECTOR = 0xfc00;
const FIRMWARE_COPIER = 0xfe00;
const RESET_VECTOR = 0xfff0;

// At reset the local interrupt controller (APIC) lets nothing of the timer through, which real firmware changes; its
// registers lie at 4 GiB less 18 MiB, so a data segment without limit is loaded in protected mode and kept.
const COPY_PROGRAM: readonly Line[] = [
  ["cli", 0xfa],
  ["cld", 0xfc],
  ["cs lgdt [gdtr]", 0x66, 0x2e, 0x0f, 0x01, 0x16, address("gdtr")],
  ["mov eax, cr0", 0x0f, 0x20, 0xc0],
  ["or al, 1", 0x0c, 0x01],
  ["mov cr0, eax", 0x0f, 0x22, 0xc0],
  ["mov bx, 8", 0xbb, ...word(8)],
  ["mov ds, bx", 0x8e, 0xdb],
  ["and al, 0xfe", 0x24, 0xfe],
  ["mov cr0, eax", 0x0f, 0x22, 0xc0],
  ...writeApic(0xf0, 0x1ff), // spurious vector register: on
  ...writeApic(0x350, 0x700), // LINT0: take what the 8259 sends
  ["xor ax, ax", 0x31, 0xc0],
  ["mov ds, ax", 0x8e, 0xd8],
  ["mov es, ax", 0x8e, 0xc0],
  ["mov si, sector in this image", 0xbe, ...word(FIRMWARE_SECTOR)],
  ["mov di, 0x7c00", 0xbf, ...word(LOAD_ADDRESS)],
  ["mov cx, 256", 0xb9, ...word(SECTOR_SIZE / 2)],
  ["cs rep movsw", 0x2e, 0xf3, 0xa5],
  ["jmp 0:0x7c00", 0xea, ...word(LOAD_ADDRESS), ...word(0)],
  "gdt",
  ["no segment", 0, 0, 0, 0, 0, 0, 0, 0],
  ["data, base 0, 4 GiB", 0xff, 0xff, 0, 0, 0, 0x93, 0xcf, 0],
  "gdtr",
  ["its size and linear address", ...word(15), address("gdt"), ...word(0xffff)],
];

const COUNTING_PROGRAM: readonly Line[] = [
  ["cli", 0xfa],
  ["jmp 0:start", 0xea, address("start"), ...word(0)],
  "start",
  ["xor ax, ax", 0x31, 0xc0],
  ["mov ds, ax", 0x8e, 0xd8],
  ["mov ss, ax", 0x8e, 0xd0],
  ["mov sp, 0x7c00", 0xbc, ...word(LOAD_ADDRESS)],
  ["mov word [vector], tick", 0xc7, 0x06, ...word(TIMER_VECTOR * 4), address("tick")],
  ["mov word [vector + 2], 0", 0xc7, 0x06, ...word(TIMER_VECTOR * 4 + 2), ...word(0)],

  // Interrupt controller: vectors from 0x20, only the timer's line open.
  ...out(0x20, 0x11),
  ...out(0x21, TIMER_VECTOR),
  ...out(0x21, 0x04),
  ...out(0x21, 0x01),
  ...out(0x21, 0xfe),

  // Timer: channel 0, mode 2 (rate generator).
  ...out(0x43, 0x34),
  ...out(0x40, TIMER_DIVISOR & 0xff),
  ...out(0x40, TIMER_DIVISOR >> 8),

  // Serial port: 115,200 baud, 8 bits, no parity, no interrupts, FIFO off, ready to send.
  ...outSerial(3, 0x80),
  ...outSerial(0, 0x01),
  ...outSerial(1, 0x00),
  ...outSerial(3, 0x03),
  ...outSerial(1, 0x00),
  ...outSerial(2, 0x00),
  ...outSerial(4, 0x03),

  ["mov dword [counter], 0", 0x66, 0xc7, 0x06, ...word(COUNTER), ...word(0), ...word(0)],

  "next",
  ["sti", 0xfb],
  ["hlt", 0xf4],
  ["cli", 0xfa],
  ["mov al, 'T'", 0xb0, 0x54],
  ["call put", 0xe8, near("put")],
  ["mov al, ' '", 0xb0, 0x20],
  ["call put", 0xe8, near("put")],
  ["mov eax, [counter]", 0x66, 0xa1, ...word(COUNTER)],
  // Digits from the last to the first onto the stack, then out in reverse.
  ["xor cx, cx", 0x31, 0xc9],
  ["mov ebx, 10", 0x66, 0xbb, ...word(10), ...word(0)],
  "divide",
  ["xor edx, edx", 0x66, 0x31, 0xd2],
  ["div ebx", 0x66, 0xf7, 0xf3],
  ["push dx", 0x52],
  ["inc cx", 0x41],
  ["test eax, eax", 0x66, 0x85, 0xc0],
  ["jnz divide", 0x75, short("divide")],
  "digit",
  ["pop ax", 0x58],
  ["add al, '0'", 0x04, 0x30],
  ["call put", 0xe8, near("put")],
  ["loop digit", 0xe2, short("digit")],
  ["mov al, newline", 0xb0, 0x0a],
  ["call put", 0xe8, near("put")],
  ["inc dword [counter]", 0x66, 0xff, 0x06, ...word(COUNTER)],
  ["jmp next", 0xe9, near("next")],

  // Sends al once the port says that it has room.
  "put",
  ["mov ah, al", 0x88, 0xc4],
  ["mov dx, line status", 0xba, ...word(0x3fd)],
  "full",
  ["in al, dx", 0xec],
  ["test al, 0x20", 0xa8, 0x20],
  ["jz full", 0x74, short("full")],
  ["mov al, ah", 0x88, 0xe0],
  ["mov dx, data", 0xba, ...word(0x3f8)],
  ["out dx, al", 0xee],
  ["ret", 0xc3],

  // The timer's interrupt only ends the sleep.
  "tick",
  ["push ax", 0x50],
  ...out(0x20, 0x20),
  ["pop ax", 0x58],
  ["iret", 0xcf],
];

function out(port: number, value: number): Line[] {
  return [
    [`mov al, ${value}`, 0xb0, value],
    [`out ${port}, al`, 0xe6, port],
  ];
}

function outSerial(register: number, value: number): Line[] {
  return [
    [`mov dx, serial port + ${register}`, 0xba, ...word(0x3f8 + register)],
    [`mov al, ${value}`, 0xb0, value],
    ["out dx, al", 0xee],
  ];
}

function writeApic(register: number, value: number): Line[] {
  const parts = [...word(register), ...word(0xfee0), ...word(value), ...word(0)];
  return [[`mov dword [apic + ${register}], ${value}`, 0x66, 0x67, 0xc7, 0x05, ...parts]];
}
