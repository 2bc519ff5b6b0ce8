// cprkit inspect: what is in this stream, or in this running machine?

import { Command, Option } from "commander";
import { maxCprStateBytes } from "../../../cpr/limits.ts";
import { inputName } from "../../../files/read.ts";
import { CprkitError } from "../../../vmstate/error.ts";
import { kindOf, openInput, refuse } from "../../input/open.ts";
import { byteOffset, pageSize, wholeNumber } from "../../options.ts";
import { print } from "../../output.ts";

interface InspectOptions {
  readonly json?: true;
  readonly hex?: true;
  readonly section?: string;
  readonly field?: string;
  readonly offset?: number;
  readonly snapshot?: string;
  readonly pageSize?: number;
  readonly vmdesc?: string;
  readonly description?: true;
  readonly xml?: true;
  readonly ramBlock?: string;
  readonly output?: string;
  readonly qmp?: string;
  readonly pid?: number;
  readonly web?: true;
  readonly browser: boolean;
}

export function inspectCommand(): Command {
  return new Command("inspect")
    .description(
      "Show what a stream holds: the fds of a CPR state, or the machine in a migration stream. Or a machine that runs.",
    )
    .argument("[file]", 'the recorded stream, or "-" for standard input')
    .option("--qmp <path>", "in place of a file: QMP socket of a running QEMU")
    .addOption(new Option("--pid <pid>", "its process, instead of --qmp").argParser(wholeNumber(1, 2 ** 22)))
    .addOption(new Option("--json", "print the result as JSON").conflicts("hex"))
    .addOption(new Option("--hex", "print the bytes with the field they belong to (without guest RAM)"))
    .option(
      "--section <glob>",
      'migration: show the fields of sections of this name, such as "*/virtio-net" or "cpu(1)"',
    )
    .option("--field <glob>", 'migration: show only fields of this path, such as "parent_obj/*"')
    .option("--offset <bytes>", "migration: where the stream begins in the file (file:PATH,offset=N)", byteOffset)
    .option(
      "--vmdesc <file>",
      "migration: a stream of this machine, or its JSON description, for a stream that has none",
    )
    .option("--description", "migration: print the stream's own JSON description, which --vmdesc and check take")
    .option("--page-size <bytes>", "migration: the guest's page size, for a stream that does not state it", pageSize)
    .option("--snapshot <name>", "the snapshot of a qcow2 image whose state is to be shown (without: a list)")
    .option("--xml", "print the domain's XML of a file that libvirt saved")
    .option("--ram-block <name>", "migration: write this block of guest RAM to the file of -o")
    .option("-o, --output <file>", "where --ram-block writes")
    .addOption(
      new Option("--web", "show it on a page in the browser, until Ctrl-C").conflicts([
        "hex",
        "vmdesc",
        "description",
        "xml",
        "ramBlock",
        "output",
      ]),
    )
    .option("--no-browser", "with --web: print the page's address only")
    .addHelpText(
      "after",
      [
        "",
        "Exit codes: 0 fine, 1 parts of a migration stream are damaged, but the rest was read, 2 usage, 3 not a",
        "stream, or it ends early: what came before is shown, 4 a file cannot be opened, or the VM could not be asked.",
        "",
        "Of a running machine: devices, disks, memory, network, process … in short; --json has all of it. Changes nothing,",
        "and shows no secrets. docs/inspect.md lists what is read and what QEMU does not tell.",
        "",
        "The stream may be compressed (gzip, zstd, xz, lz4, bzip2, lzop), in a file of `virsh save`, in a snapshot of a",
        "qcow2 image, or behind something else: what is around it is taken off, and named.",
        "",
        "Examples:",
        "  $ cprkit inspect --qmp /run/vm1/qmp.sock",
        "  $ cprkit inspect cpr-state.bin",
        "  $ cprkit inspect --json - < cpr-state.bin | jq '.fds[].name'",
        "  $ cprkit inspect vm.mig --section '*/virtio-net'",
        "  $ cprkit inspect disk.qcow2 --snapshot before-upgrade",
        "  $ cprkit inspect vm.mig --ram-block pc.ram -o ram.bin",
        "  $ cprkit inspect vm.mig --web",
      ].join("\n"),
    )
    .action(async (file: string | undefined, options: InspectOptions) => {
      const { qmp, pid, json } = options;
      if (!options.browser && options.web !== true) throw new CprkitError("ERR_USAGE", "--no-browser goes with --web");
      if (options.web === true) {
        await inspectOnPage(file, options);
        return;
      }
      if (qmp !== undefined || pid !== undefined) {
        const other = file ?? streamOptions.find((name) => options[name] !== undefined);
        if (other !== undefined) {
          throw new CprkitError("ERR_USAGE", `${inputName(other)} does not go with --qmp and --pid: see --help`);
        }
        const { inspectMachine } = await import("./inspect-machine.ts");
        await inspectMachine({ qmp, pid }, json === true);
        return;
      }
      if (file === undefined)
        throw new CprkitError("ERR_USAGE", "nothing to show: name a file, or a VM by --qmp or --pid");
      const input = await openInput(file, options);
      try {
        const kind = kindOf(input);
        if (options.snapshot !== undefined && !input.wrapping.some((one) => one.kind === "qcow2")) {
          throw new CprkitError("ERR_USAGE", "--snapshot goes with a qcow2 image, and this is something else");
        }
        if (options.xml === true || (input.snapshots !== undefined && kind === undefined)) {
          const { showXml, showSnapshots } = await import("../../view/wrapping.ts");
          if (options.xml === true) print(showXml(input.wrapping));
          else showSnapshots(input.snapshots ?? [], json === true);
        } else if (kind === "cpr") {
          const { showCprState } = await import("../../view/cpr.ts");
          print(showCprState(await input.all(maxCprStateBytes), options));
        } else if (kind === "migration") {
          const { inspectMigration } = await import("./inspect-migration.ts");
          process.exitCode = await inspectMigration(input, options);
        } else await refuse(input);
      } finally {
        input.close();
      }
    });
}

/** The page in place of text. */
async function inspectOnPage(file: string | undefined, options: InspectOptions): Promise<void> {
  const { qmp, pid, json, browser, offset, snapshot, pageSize: bytes, section, field } = options;
  const hasVm = qmp !== undefined || pid !== undefined;
  if (file === undefined && !hasVm)
    throw new CprkitError("ERR_USAGE", "nothing to show: name a file, or a VM by --qmp or --pid");
  const { runWeb } = await import("../../web/run.ts");
  await runWeb({
    files: file === undefined ? [] : [file],
    options: { offset, snapshot, pageSize: bytes, section, field },
    vm: hasVm ? { qmp, pid } : undefined,
    json: json === true,
    browser,
  });
}

/** Options of streams alone. */
const streamOptions = [
  "hex",
  "section",
  "field",
  "offset",
  "snapshot",
  "xml",
  "vmdesc",
  "description",
  "pageSize",
  "ramBlock",
  "output",
] as const;
