// Files and pipes as sources of a migration stream, for Node.

export {
  type OpenFile,
  type OpenInput,
  type OpenPipe,
  type OpenSource,
  type OpenSourceOptions,
  openSource,
} from "./open.ts";
export { type Compression, compressions } from "./unwrap/compression.ts";
export type { LibvirtSave } from "./unwrap/libvirt.ts";
export type { UnwrapOptions, Unwrapped, Wrapping } from "./unwrap/peel.ts";
export type { Snapshot } from "./unwrap/qcow2.ts";
export { unwrap } from "./unwrap/unwrap.ts";
