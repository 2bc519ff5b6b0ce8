// Units of systemd: what it sees of an update, and how it stops and restarts what came out of it.

import { expect, sh, update } from "../case.mjs";

const TABLE = "systemd";
const IN = ". /lab/units.sh;";

/**
 * @typedef {object} Kind
 * @property {string} name
 * @property {string} mode
 * @property {string} from the QEMU before: 10.0 or 11.1
 * @property {readonly string[]} lines of the unit; "$Q" is the program, "$W" the VM's words
 * @property {string} [folder] of the VM's sockets
 * @property {string} [before] words before cprkit
 * @property {string} [accel] "tcg" where /dev/kvm can't be opened
 */

const forking = (/** @type {string} */ pidfile) => [
  "Type=forking",
  `PIDFile=${pidfile}`,
  `ExecStart=$Q -daemonize -pidfile ${pidfile} $W`,
];

/** @type {Kind[]} */
const KINDS = [
  { name: "Type=forking, PIDFile=", mode: "cpr-transfer", from: "10.0", lines: forking("/run/vms/u.pid") },
  { name: "Type=simple", mode: "cpr-exec", from: "11.1", lines: ["Type=simple", "ExecStart=$Q $W"] },
  { name: "Type=exec", mode: "cpr-exec", from: "11.1", lines: ["Type=exec", "ExecStart=$Q $W"] },
  {
    name: "Type=notify",
    mode: "cpr-exec",
    from: "11.1",
    lines: ["Type=notify", "NotifyAccess=all", "ExecStart=/bin/sh -c 'systemd-notify --ready; exec $Q $W'"],
  },
  {
    ...{ name: "User=vm, Type=forking", mode: "cpr-transfer", from: "10.0", folder: "/run/vmu", accel: "tcg" },
    lines: ["User=vm", ...forking("/run/vmu/u.pid")],
  },
  {
    name: "sandbox, Type=forking",
    mode: "cpr-transfer",
    from: "10.0",
    lines: [
      ...["TemporaryFileSystem=/var/tmp", "ProtectSystem=yes", "PrivateNetwork=yes", "NoNewPrivileges=yes"],
      ...["CapabilityBoundingSet=CAP_NET_ADMIN CAP_SYS_RESOURCE", "OOMScoreAdjust=-500", "Nice=-5", "CPUAffinity=1"],
      ...forking("/run/vms/u.pid"),
    ],
  },
  {
    name: "SystemCallFilter=, Type=forking",
    mode: "cpr-transfer",
    from: "10.0",
    before: 'systemd-run --quiet --wait --pipe -p LimitNOFILE=65536 -p "SystemCallFilter=~@mount @reboot"',
    lines: ["SystemCallFilter=~@mount @reboot", "NoNewPrivileges=yes", ...forking("/run/vms/u.pid")],
  },
  {
    name: "Slice=machine.slice, Type=forking",
    mode: "cpr-transfer",
    from: "10.0",
    lines: ["Slice=machine.slice", ...forking("/run/vms/u.pid")],
  },
];

/** @type {import("../case.mjs").Case[]} */
export const unitCases = [...KINDS.map(unitCase), scope(), allowedCgroup(), planned()];

/** @param {Kind} kind @returns {import("../case.mjs").Case} */
function unitCase(kind) {
  return {
    name: `unit: ${kind.name}`,
    table: TABLE,
    run: async (host) => {
      await startUnit(host, kind);
      try {
        const stop = await updated(host, kind);
        await sh(host, "systemctl stop vm-u");
        const stopped = await state(host);
        const journal = await sh(host, "journalctl -u vm-u --since=-30min -o cat --no-pager");
        expect(
          stopped.Result === "success" && !/SIGKILL|status=9/.test(journal),
          `an end by SIGTERM, found ${JSON.stringify(stopped)}: ${journal}`,
        );
        // Once more, for its crash.
        await startUnit(host, kind);
        const { MainPID } = await updated(host, kind);
        await sh(host, `kill -SEGV ${MainPID}; sleep 5`);
        const after = await state(host);
        const qemus = await look(host);
        expect(after.ActiveState === "active" && after.NRestarts === "1", `a restart, found ${JSON.stringify(after)}`);
        expect(qemus.length === 1, `one QEMU, found ${qemus.length}`);
        return {
          ...{ kind: kind.name, mode: kind.mode, QEMU: `${kind.from} to 11.1`, state: "active" },
          ...{ MainPID: kind.mode === "cpr-exec" ? "the same" : "the new one's", kept: stop.kept },
          ...{ stop: "by SIGTERM", crash: "noticed, one QEMU restarted" },
        };
      } finally {
        await sh(
          host,
          "systemctl stop vm-u; systemctl reset-failed vm-u 2>/dev/null; rm -f /run/systemd/system/vm-u.service; systemctl daemon-reload",
        );
      }
    },
  };
}

/** @param {import("../host.mjs").Host} host @param {Kind} kind */
async function startUnit(host, { lines, from, folder = "/run/vms", accel }) {
  const quoted = ["Restart=on-failure", ...lines].map(
    (line) => `"${line.replaceAll('"', '\\"').replaceAll("$Q", `$Q${from.replace(".0", "").replace(".1", "")}`)}"`,
  );
  await sh(
    host,
    `${IN} rm -f ${folder}/u.*; W=$(ACCEL=${accel ?? ""} words u ${folder}); unit vm-u ${quoted.join(" ")}; systemctl start vm-u && sleep 3`,
  );
}

/**
 * Updates, and compares what systemd and the kernel say before and after.
 *
 * @param {import("../host.mjs").Host} host
 * @param {Kind} kind
 */
async function updated(host, { mode, folder = "/run/vms", before }) {
  const [old] = await look(host);
  const count = async () => Number(await sh(host, `wc -l < ${folder}/u.serial`));
  const report = await update(host, `--qmp ${folder}/u.sock --qemu /qemu/11.1 --mode ${mode}`, before);
  const lines = await count();
  await sh(host, "sleep 3");
  expect((await count()) > lines, "the guest to count on");
  const { MainPID, ActiveState } = await state(host);
  expect(ActiveState === "active", `an active unit, found ${ActiveState}`);
  expect(Number(MainPID) === report.pid, `MainPID ${report.pid}, found ${MainPID}`);
  const qemus = await look(host);
  expect(qemus.length === 1, `one QEMU, found ${qemus.length}`);
  const [now] = qemus;
  const keys = [
    "ppid",
    "cgroup",
    "user",
    "nnp",
    "seccomp",
    "capbnd",
    "capeff",
    "oom",
    "nice",
    "cpus",
    "mnt",
    "net",
    "ipc",
  ];
  const changed = keys.filter((key) => old?.[key] !== now?.[key]);
  expect(
    changed.length === 0,
    `the same process attributes, found ${changed.map((key) => `${key} ${old?.[key]} and ${now?.[key]}`).join(", ")}`,
  );
  const kept = `user ${now?.user}, ${now?.cgroup}, capabilities ${now?.capbnd}, no_new_privs ${now?.nnp}, ${now?.seccomp?.split("/")[1]} seccomp filters, OOM ${now?.oom}, nice ${now?.nice}, CPUs ${now?.cpus}`;
  return { MainPID, kept };
}

/** @returns {import("../case.mjs").Case} */
function scope() {
  return {
    name: "unit: scope",
    table: TABLE,
    run: async (host) => {
      const start =
        "systemd-run --quiet --scope --unit=vm-u --slice=machine.slice setsid -f $Q10 $W </dev/null >/dev/null 2>&1; sleep 4";
      await sh(host, `${IN} rm -f /run/vms/u.*; W=$(words u); ${start}`);
      const report = await update(host, "--qmp /run/vms/u.sock --qemu /qemu/11.1");
      const [now, ...others] = await look(host);
      expect(others.length === 0 && Number(now?.pid) === report.pid, "one QEMU, the new one");
      expect(now?.cgroup === "/machine.slice/vm-u.scope", `the scope's cgroup, found ${now?.cgroup}`);
      const { ActiveState } = await state(host, "vm-u.scope");
      expect(ActiveState === "active", `an active scope, found ${ActiveState}`);
      await sh(host, "systemctl stop vm-u.scope; sleep 1");
      expect((await look(host)).length === 0, "no QEMU after the stop");
      const journal = await sh(host, "journalctl -u vm-u.scope -o cat --no-pager");
      expect(!journal.includes("SIGKILL"), `an end by SIGTERM, found ${journal}`);
      return {
        kind: "scope in machine.slice",
        mode: "cpr-transfer",
        QEMU: "10.0 to 11.1",
        state: "active",
        MainPID: "none",
        kept: now?.cgroup ?? "",
        stop: "by SIGTERM",
        crash: "a scope is not restarted",
      };
    },
  };
}

/** What once ran two QEMUs on one disk. @returns {import("../case.mjs").Case} */
function allowedCgroup() {
  const kind = KINDS.find(({ name }) => name.startsWith("User="));
  return {
    name: "unit: User=, as that user with --allow cgroup",
    table: TABLE,
    run: async (host) => {
      if (kind === undefined) throw new Error("no such kind");
      await startUnit(host, kind);
      try {
        const asUser = "setpriv --reuid vm --regid vm --groups 1000";
        const failed = await update(host, "--qmp /run/vmu/u.sock --qemu /qemu/11.1 --allow cgroup", asUser).then(
          () => "it was updated",
          (error) => String(error),
        );
        expect(failed.includes("[systemd-main]"), `systemd-main, found ${failed}`);
        const qemus = await look(host);
        expect(qemus.length === 1 && qemus[0]?.qemu === "10.0", "the old QEMU, alone");
        return {
          kind: kind.name,
          mode: "cpr-transfer as vm, --allow cgroup",
          QEMU: "10.0 to 11.1",
          state: "refused: systemd-main",
          MainPID: "the same",
        };
      } finally {
        await sh(host, "systemctl stop vm-u; rm -f /run/systemd/system/vm-u.service; systemctl daemon-reload");
      }
    },
  };
}

/** Preflight and update say the same of a unit that only cpr-exec can update, where the old QEMU has no cpr-exec. @returns {import("../case.mjs").Case} */
function planned() {
  const kind = { name: "Type=simple", mode: "cpr-transfer", from: "10.0", lines: ["Type=simple", "ExecStart=$Q $W"] };
  return {
    name: "unit: Type=simple of QEMU 10.0",
    table: TABLE,
    run: async (host) => {
      await startUnit(host, kind);
      try {
        const words = "--qmp /run/vms/u.sock --qemu /qemu/11.1";
        const said = await sh(host, `/cprkit/bin/cprkit preflight ${words}; echo "code $?"`);
        expect(said.includes("code 1") && said.includes("systemd-main"), `systemd-main by preflight, found ${said}`);
        const failed = await update(host, words).then(() => "it was updated", String);
        expect(failed.includes("[systemd-main]"), `systemd-main by update, found ${failed}`);
        return {
          kind: kind.name,
          mode: "cpr-transfer",
          QEMU: "10.0 to 11.1",
          state: "refused by preflight and update: systemd-main",
          MainPID: "the same",
        };
      } finally {
        await sh(host, "systemctl stop vm-u; rm -f /run/systemd/system/vm-u.service; systemctl daemon-reload");
      }
    },
  };
}

/** @param {import("../host.mjs").Host} host @param {string} [unit] @returns {Promise<Record<string, string>>} */
async function state(host, unit = "vm-u") {
  return pairs(await sh(host, `${IN} state ${unit}`));
}

/** Every QEMU of the VM. @param {import("../host.mjs").Host} host */
async function look(host) {
  const text = await sh(host, `${IN} look u`);
  return text === "" ? [] : text.split("\n").map(pairs);
}

/** @param {string} text @returns {Record<string, string>} */
function pairs(text) {
  return Object.fromEntries(
    text
      .trim()
      .split(/ +/)
      .map((pair) => {
        const at = pair.indexOf("=");
        return [pair.slice(0, at), pair.slice(at + 1)];
      }),
  );
}
