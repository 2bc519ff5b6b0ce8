// Recorded streams of real QEMU: CPR streams from test/fixtures/cpr, and the shared folder beside the repository,
// which has larger ones.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** What the sidecar of a CPR capture says, as far as every capture has it. */
export interface CprSidecar {
  readonly kind: "cpr-transfer" | "cpr-exec";
  readonly sha256: string;
  /** Length of the stream in bytes. */
  readonly bytes: number;
  readonly qemu: { readonly version: string; readonly package: string };
  readonly machineType: string;
  readonly argv: readonly string[];
  readonly cprVersion: number;
  /** Byte offset just after the descriptor list. */
  readonly fdListEnd: number;
  readonly fdCount: number;
  readonly subsections: readonly {
    readonly byteOffset: number;
    readonly name: string;
    readonly version: number;
    /** What follows the version, up to the end of the stream. */
    readonly bodyHex: string;
  }[];
  readonly fds: readonly CprSidecarFd[];
}

interface CprSidecarFd {
  readonly index: number;
  readonly name: string;
  readonly id: number;
  /** cpr-transfer: of the one-byte place holder; cpr-exec: of the four bytes of the number. */
  readonly byteOffset: number;
  /** cpr-exec only: the descriptor's number. */
  readonly fd?: number;
}

export interface CprCapture {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly sidecar: CprSidecar;
}

/** The shared folder beside the repository (or CPRKIT_SHARED); undefined where it is missing. */
export function sharedDir(): string | undefined {
  const dir = resolve(process.env["CPRKIT_SHARED"] || fileURLToPath(new URL("../../../shared", import.meta.url)));
  return existsSync(join(dir, "captures")) ? dir : undefined;
}

/** Every recorded CPR stream, in order of its name. */
export function listCprCaptures(): CprCapture[] {
  const dir = fileURLToPath(new URL("../fixtures/cpr", import.meta.url));
  return readdirSync(dir)
    .filter((file) => file.endsWith(".bin"))
    .sort()
    .map((file) => {
      const name = file.slice(0, -".bin".length);
      const sidecar = JSON.parse(readFileSync(join(dir, `${name}.json`), "utf8")) as CprSidecar;
      return { name, bytes: new Uint8Array(readFileSync(join(dir, file))), sidecar };
    });
}
