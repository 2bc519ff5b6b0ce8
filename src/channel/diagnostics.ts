// The trace events of CPR on node:diagnostics_channel, one channel per event: "cprkit:cpr_save_fd" and so on.

import { type Channel, channel } from "node:diagnostics_channel";
import type { CprEventName, CprTrace } from "../cpr/trace.ts";

/** Name of an event's channel on node:diagnostics_channel, such as "cprkit:cpr_save_fd". */
export function cprChannelName(event: CprEventName): string {
  return `cprkit:${event}`;
}

/** A trace that publishes each event to its channel. While nobody listens to it, an event costs one check. */
export function diagnosticsTrace(): CprTrace {
  return {
    wants: (event) => channels[event].hasSubscribers,
    emit: (event) => channels[event.event].publish(event),
  };
}

const channels: Readonly<Record<CprEventName, Channel>> = {
  cpr_save_fd: channel(cprChannelName("cpr_save_fd")),
  cpr_delete_fd: channel(cprChannelName("cpr_delete_fd")),
  cpr_find_fd: channel(cprChannelName("cpr_find_fd")),
  cpr_state_save: channel(cprChannelName("cpr_state_save")),
  cpr_state_load: channel(cprChannelName("cpr_state_load")),
  put_ghash: channel(cprChannelName("put_ghash")),
  get_ghash: channel(cprChannelName("get_ghash")),
};
