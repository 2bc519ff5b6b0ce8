// What a virtio device on s390x's channel subsystem sends before its virtio part (QEMU 8.0 hw/s390x/virtio-ccw.c, css.c,
// hw/intc/s390_flic.c).

import { array } from "../../vmstate/fields/arrays.ts";
import { buffer } from "../../vmstate/fields/buffers.ts";
import { bool, int32, uint8, uint16, uint32, uint64 } from "../../vmstate/fields/integers.ts";
import { struct } from "../../vmstate/fields/struct.ts";
import { plain } from "./kinds.ts";

const pathControl = plain("s390_pmcw", 1, {
  intparm: uint32(),
  flags: uint16(),
  devno: uint16(),
  lpm: uint8(),
  pnom: uint8(),
  lpum: uint8(),
  pim: uint8(),
  mbi: uint16(),
  pom: uint8(),
  pam: uint8(),
  chpid: array(uint8(), 8),
  chars: uint32(),
});

const status = plain("s390_scsw", 1, {
  flags: uint16(),
  ctrl: uint16(),
  cpa: uint32(),
  dstat: uint8(),
  cstat: uint8(),
  count: uint16(),
});

const information = plain("s390_schib", 1, {
  pmcw: struct(pathControl),
  scsw: struct(status),
  mba: uint64(),
  mda: array(uint8(), 4),
});

const command = plain("s390_ccw1", 1, { cmd_code: uint8(), flags: uint8(), count: uint16(), cda: uint32() });

const identity = plain("s390_sense_id", 1, {
  reserved: uint8(),
  cu_type: uint16(),
  cu_model: uint8(),
  dev_type: uint16(),
  dev_model: uint8(),
  unused: uint8(),
  // 62 of 4 bytes each.
  ciw: buffer(248),
});

const request = plain("s390_orb", 1, {
  intparm: uint32(),
  ctrl0: uint16(),
  lpm: uint8(),
  ctrl1: uint8(),
  cpa: uint32(),
});

const subchannel = plain(
  "s390_subch_dev",
  1,
  {
    cssid: uint8(),
    ssid: uint8(),
    migrated_schid: uint16(),
    devno: uint16(),
    thinint_active: bool(),
    curr_status: struct(information),
    sense_data: buffer(32),
    channel_prog: uint64(),
    last_cmd: struct(command),
    last_cmd_valid: bool(),
    id: struct(identity),
    ccw_fmt_1: bool(),
    ccw_no_data_cnt: uint8(),
  },
  [plain("s390_subch_dev/orb", 1, { orb: struct(request) })],
);

const indicator = struct(plain("s390_ind_addr_tmp", 1, { len: int32(), addr: uint64() }));

const adapter = plain("s390_adapter_info", 1, { ind_offset: uint64() }, [
  plain("s390_adapter_info/summary_offset", 1, { summary_offset: uint32() }),
]);

/** The transport as a whole. Its length varies with its subsections. */
export const ccwDevice = plain("s390_virtio_ccw_dev", 1, {
  sch: struct(subchannel),
  indicators: indicator,
  indicators2: indicator,
  summary_indicator: indicator,
  config_vector: uint16(),
  adapter: struct(adapter),
  thinint_isc: uint8(),
  revision: int32(),
});
