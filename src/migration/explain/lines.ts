// The lines of a log as QEMU said them: what libvirt, KubeVirt, Proxmox VE, the journal and others put around them goes.

/** One message, and where it was. */
export interface LogLine {
  /** From 1 on. */
  readonly line: number;
  /** Without date, program and host. */
  readonly text: string;
}

/** A log may have been written for months; the last failures are at its end. */
const maxLines = 200_000;
const maxLength = 4096;

/** The messages of a log, at most its last 200,000 lines; longer lines are cut. */
export function logLines(log: string): LogLine[] {
  const lines = log.split(/\r?\n|\r/);
  const first = Math.max(0, lines.length - maxLines);
  return lines
    .slice(first)
    .flatMap((line, index) =>
      messagesOf(line.slice(0, maxLength)).map((text) => ({ line: first + index + 1, text: stripped(text) })),
    )
    .filter(({ text }) => text !== "");
}

/** What a line of JSON has in "msg" or "message" (KubeVirt, journalctl -o json); else the line. */
function messagesOf(line: string): string[] {
  const brace = line.indexOf("{");
  if (brace < 0 || !/"(?:msg|message|MESSAGE)"/.test(line)) return [line];
  try {
    const { msg, message, MESSAGE } = JSON.parse(line.slice(brace)) as Record<string, unknown>;
    const said = [msg, message, MESSAGE].find((one) => typeof one === "string");
    return typeof said === "string" ? said.split("\n") : [line];
  } catch {
    return [line];
  }
}

/** Date, level, host, program and its process: whatever ends with ": " before QEMU's own words. */
const before = [
  /^\s*[[(]?\d{4}-\d\d-\d\d[T ][\d:.,]+(?:Z|[+-]\d\d:?\d\d)?[\])]?:?\s*/,
  /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)?\s*(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +\d{1,2} [\d:]{8}(?: \d{4})? (?:\S+ )?/,
  /^\d+: (?:error|warning|info|debug) : (?:\w+:\d+ : )?/,
  /^[\w.@/-]*\[\d+\]: /,
  /^(?:[\w./-]*(?:qemu[\w.-]*|kvm)(?:\[\d+\])?: )+/,
];

function stripped(line: string): string {
  let text = line.trim();
  for (let again = true; again; ) {
    again = false;
    for (const pattern of before) {
      const rest = text.replace(pattern, "");
      if (rest !== text) again = true;
      text = rest;
    }
  }
  return text.trim();
}
