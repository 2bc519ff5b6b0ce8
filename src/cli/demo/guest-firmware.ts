// The demo's guest: a firmware image (QEMU's -bios) that counts on the first serial port. Written in
// test/guest/boot-sector.ts, whose test assembles it anew and compares.

/** 64 KiB, of which only the last part is code. */
export function guestFirmware(): Uint8Array {
  const image = new Uint8Array(0x10000);
  for (const [offset, code] of parts) image.set(Buffer.from(code, "base64"), offset);
  return image;
}

const parts: readonly (readonly [offset: number, base64: string])[] = [
  [
    0xfc00,
    "+uoGfAAAMcCO2I7QvAB8xwaAALp8xwaCAAAAsBHmILAg5iGwBOYhsAHmIbD+5iGwNOZDsJzmQLAu5kC6+wOwgO66+AOwAe66+QOwAO66+wOwA+66+QOwAO66+gOwAO66/AOwA+5mxwYAfgAAAAD79PqwVOgzALAg6C4AZqEAfjHJZrsKAAAAZjHSZvfzUkFmhcB181gEMOgPAOL4sAroCABm/wYAfunF/4jEuv0D7KggdPuI4Lr4A+7DULAg5iBYzw==",
  ],
  [
    0xfdfe,
    "Var6/GYuDwEWWv4PIMAMAQ8iwLsIAI7bJP4PIsBmZ8cF8ADg/v8BAABmZ8cFUAPg/gAHAAAxwI7YjsC+APy/AHy5AAEu86XqAHwAAAAAAAAAAAAA//8AAACTzwAPAEr+//8=",
  ],
  [0xfff0, "6Q3+"],
];
