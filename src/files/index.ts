// Files and pipes as sources of a migration stream, for Node.

export {
  type OpenFile,
  type OpenInput,
  type OpenPipe,
  type OpenSource,
  type OpenSourceOptions,
  openSource,
} from "./open.ts";
