// A JSON description, and after a zero byte the bytes of the body that it describes.

import { fromVmdesc, load, parseVmdesc, save } from "../../src/vmstate/index.ts";
import { parts, sameBytes, type Target, unlessRefused } from "../target.ts";

export const fuzz: Target = (input) => {
  const [json = input, body = new Uint8Array()] = parts(input, 2);
  unlessRefused(() => parseVmdesc(json));
  const described = unlessRefused(() => fromVmdesc(json));
  if (described === undefined) return;
  const { description } = described;
  const state = unlessRefused(() => load(description, { bytes: body }));
  if (state !== undefined) sameBytes(save(description, state).bytes, body, "read, but saved to other bytes");
};
