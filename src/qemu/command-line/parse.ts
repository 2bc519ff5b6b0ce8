// A QEMU command line taken apart: options with their values, and the key=value lists within.

/** One option of a command line; `name` is "" for a word that is not an option (a disk image). */
export interface CommandOption {
  /** Without its dashes. */
  readonly name: string;
  /** Undefined for an option that takes none. */
  readonly value?: string | undefined;
}

/**
 * Splits the words after the program's name. An option takes the next word whatever it looks like, as QEMU does it,
 * unless it is one of those that take none (QEMU 7.2 to 11.1 qemu-options.hx).
 *
 * @param alsoWithout names of further options without a value
 */
export function parseOptions(words: readonly string[], alsoWithout: ReadonlySet<string> = new Set()): CommandOption[] {
  const options: CommandOption[] = [];
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? "";
    if (!word.startsWith("-") || word === "-") {
      options.push({ name: "", value: word });
      continue;
    }
    const name = word.replace(/^--?/, "");
    if (withoutValue.has(name) || alsoWithout.has(name)) {
      options.push({ name });
      continue;
    }
    at += 1;
    options.push({ name, value: words[at] });
  }
  return options;
}

/** Whether all options among the words are known to {@link parseOptions}, with or without a value: then nobody need be asked. */
export function areKnownOptions(words: readonly string[]): boolean {
  return parseOptions(words).every(({ name }) => name === "" || withoutValue.has(name) || withAValue.has(name));
}

/** The words again. */
export function formatOptions(options: Iterable<CommandOption>): string[] {
  return [...options].flatMap(({ name, value }) => [
    ...(name === "" ? [] : [`-${name}`]),
    ...(value === undefined ? [] : [value]),
  ]);
}

const withoutValue = new Set(
  (
    "h help version S s daemonize enable-kvm nodefaults no-user-config nographic snapshot no-reboot no-shutdown " +
    "full-screen no-fd-bootchk only-migratable mem-prealloc preconfig singlestep no-acpi no-hpet usb win2k-hack " +
    "rtc-td-hack no-quit alt-grab ctrl-grab portrait old-param semihosting xen-attach xen-domid-restrict curses sdl " +
    "no-kvm no-kvm-irqchip no-kvm-pit no-kvm-pit-reinjection no-frame enable-fips no-nodefconfig nodefconfig " +
    "enable-sync-profile perfmap jitdump"
  ).split(" "),
);

const withAValue = new Set(
  (
    "D L M accel acpitable action add-fd append audio audiodev bios blockdev boot cdrom " +
    "chardev chroot compat cpu d debugcon device dfilter display drive dtb dump-vmstate echr fda fdb fsdev " +
    "fw_cfg gdb global hda hdb hdc hdd icount incoming initrd iscsi k kernel loadvm m machine mem-path mon " +
    "monitor msg mtdblock name net netdev nic numa object option-rom overcommit parallel pflash pidfile " +
    "plugin qmp qmp-pretty readconfig rotate rtc run-with runas sandbox sd seed serial set shim smbios smp " +
    "spice tpmdev trace usbdevice uuid vga virtfs vnc watchdog-action xen-domid"
  ).split(" "),
);

/** The parts of "first,key=value,flag": a part without "=" has the value undefined. */
export type KeyValues = readonly (readonly [key: string, value: string | undefined])[];

/** Takes "a=b,c=d,,e" apart; a comma in a value is written twice. */
export function parseKeyValues(text: string): KeyValues {
  const parts: string[] = [];
  let part = "";
  for (let at = 0; at < text.length; at++) {
    if (text[at] !== ",") part += text[at];
    else if (text[at + 1] === ",") {
      part += ",";
      at += 1;
    } else {
      parts.push(part);
      part = "";
    }
  }
  parts.push(part);
  return parts.map((each) => {
    const equals = each.indexOf("=");
    return equals < 0 ? [each, undefined] : [each.slice(0, equals), each.slice(equals + 1)];
  });
}

/** The text again, with commas written twice. */
export function formatKeyValues(parts: KeyValues): string {
  return parts.map(([key, value]) => (value === undefined ? key : `${key}=${value}`).replaceAll(",", ",,")).join(",");
}

/** The value of a key, the last one if it is there twice, as QEMU takes it. */
export function getValue(parts: KeyValues, key: string): string | undefined {
  return parts.findLast(([name]) => name === key)?.[1];
}

/** What an option is of: its first word, or what `key` says ("-device e1000", "-device driver=e1000"). */
export function kindIn(parts: KeyValues, key: string): string | undefined {
  const [first] = parts;
  return first !== undefined && first[1] === undefined ? first[0] : getValue(parts, key);
}

/** Whether a switch is on: "key=on", "key" alone; false when it is absent or off. */
export function isOn(parts: KeyValues, key: string): boolean {
  const found = parts.findLast(([name]) => name === key);
  if (found === undefined) return false;
  return found[1] === undefined || ["on", "yes", "true", "y"].includes(found[1]);
}

/** The parts with one key set: in its place if it is there, else at the end. */
export function withValue(parts: KeyValues, key: string, value: string): KeyValues {
  if (!parts.some(([name]) => name === key)) return [...parts, [key, value]];
  return parts.map(([name, old]) => [name, name === key ? value : old]);
}

/** A command line as a shell takes it, for people to read and to copy. */
export function shellQuoted(words: readonly string[]): string {
  return words.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)).join(" ");
}
