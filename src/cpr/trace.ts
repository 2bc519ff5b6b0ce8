// Trace events of the subsystem, named as QEMU's (QEMU 11.1 migration/trace-events). Pure: who listens is decided at
// the edge (channel/diagnostics.ts), and nothing is built when nobody does.

/** An event. The two of the hash table come from the RFC's VMSTATE_GHASH_V. */
export type CprEvent =
  | { readonly event: "cpr_save_fd"; readonly name: string; readonly id: number; readonly fd: number }
  | { readonly event: "cpr_delete_fd"; readonly name: string; readonly id: number }
  /** `fd` is what the look-up returned: -1 if there was none. */
  | { readonly event: "cpr_find_fd"; readonly name: string; readonly id: number; readonly fd: number }
  | { readonly event: "cpr_state_save"; readonly mode: CprMode }
  | { readonly event: "cpr_state_load"; readonly mode: CprMode }
  | { readonly event: "put_ghash"; readonly field: string; readonly count: number }
  | { readonly event: "get_ghash"; readonly field: string; readonly count: number };

/** The name of an event. */
export type CprEventName = CprEvent["event"];

/** How a state travels: passed over a socket, or kept across exec. */
export type CprMode = "cpr-transfer" | "cpr-exec";

/** Where events go. */
export interface CprTrace {
  /** False: nobody listens, and the event is not even built. */
  wants(event: CprEventName): boolean;
  emit(event: CprEvent): void;
}

/** Emits `make()` if somebody wants it. */
export function emit(trace: CprTrace | undefined, event: CprEventName, make: () => CprEvent): void {
  if (trace?.wants(event)) trace.emit(make());
}
