// cprkit web: a page on which one sees a stream, two streams, or a VM.

import { Command, Option } from "commander";
import { CprkitError } from "../../../vmstate/error.ts";
import { byteOffset, wholeNumber } from "../../options.ts";

interface WebOptions {
  readonly qmp?: string;
  readonly pid?: number;
  readonly qemu?: string;
  readonly offset?: number;
  readonly snapshot?: string;
  readonly browser: boolean;
  readonly json?: true;
}

export function webCommand(): Command {
  return new Command("web")
    .description("Show a stream, two streams, or a running VM on a page in the browser. Changes nothing.")
    .argument("[streams...]", "a stream; two are compared; without one, the page waits for files to be dropped")
    .option("--qmp <path>", "QMP socket of a running QEMU: the machine as it is, and what an update would carry")
    .addOption(new Option("--pid <pid>", "its process, instead of --qmp").argParser(wholeNumber(1, 2 ** 22)))
    .option("--qemu <program>", "the QEMU that an update would take (default: the path that the running one came from)")
    .option("--offset <bytes>", "where the stream begins in its file", byteOffset)
    .option("--snapshot <name>", "the snapshot, if it is a qcow2 image")
    .option("--no-browser", "print the address only")
    .option("--json", "print the address as JSON")
    .addHelpText(
      "after",
      [
        "",
        "The page is served on 127.0.0.1 under a random address until Ctrl-C. It reads what was named here and nothing",
        "else, and sends nothing anywhere. The same page is a file of its own in the package, dist/web/inspect.html.",
        "docs/web.md shows it.",
        "",
        "Exit codes: 0 ended by Ctrl-C, 2 usage, 4 a file cannot be opened.",
        "",
        "Examples:",
        "  $ cprkit web vm.mig",
        "  $ cprkit web before.mig after.mig",
        "  $ cprkit web --qmp /run/vm1/qmp.sock --no-browser",
      ].join("\n"),
    )
    .action(async (files: string[], { qmp, pid, qemu, offset, snapshot, browser, json }: WebOptions) => {
      if (files.length > 2) throw new CprkitError("ERR_USAGE", "two files can be compared, not more");
      const hasVm = qmp !== undefined || pid !== undefined;
      if (qemu !== undefined && !hasVm) throw new CprkitError("ERR_USAGE", "--qemu goes with --qmp or --pid");
      if (hasVm) (await import("../../../linux/system.ts")).requireLinux();
      const { runWeb } = await import("../../web/run.ts");
      const vm = hasVm ? { qmp, pid, qemu } : undefined;
      await runWeb({ files, options: { offset, snapshot }, vm, json: json === true, browser });
    });
}
