// Command lines are read whole: files of -readconfig, -set, and every word comes out as it went in.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { expandOptions, parseConfigFile } from "../../src/qemu/command-line/config-file.ts";
import { formatKeyValues, formatOptions, parseKeyValues, parseOptions } from "../../src/qemu/command-line/parse.ts";

const words = (line: string) => parseOptions(line.split(" "));
const line = (options: Parameters<typeof formatOptions>[0]) => formatOptions(options).join(" ");

describe("a -readconfig file", () => {
  const text = `
# as QEMU reads it
[device "ehci"]
  driver = "ich9-usb-ehci1"
  multifunction = "on"
  addr = "1d.7"

[memory]
  size = "64M"
[smp-opts]
  cpus = "2"
[global]
  driver = "kvm-pit"
  property = "lost_tick_policy"
  value = "delay"
[drive "d0"]
  file = "/a,b=c.img"
  if = "none"
`;

  it("is the options that it stands for, in its place", () => {
    const expanded = expandOptions(words("-nodefaults -readconfig f -S"), (path) => (path === "f" ? text : undefined));
    expect(line(expanded)).toBe(
      "-nodefaults -device driver=ich9-usb-ehci1,id=ehci,multifunction=on,addr=1d.7 -m size=64M -smp cpus=2 " +
        "-global driver=kvm-pit,property=lost_tick_policy,value=delay -drive id=d0,file=/a,,b=c.img,if=none -S",
    );
  });

  it("stays as it is when a part of it is not understood, and is never read by half", () => {
    for (const bad of ['[plugin]\n a = "b"', 'a = "b"', "[device]\n a = b", '[device "x"\n a = "b"', "nonsense"]) {
      expect(parseConfigFile(`${bad}\n${text}`), bad).toBeUndefined();
      expect(line(expandOptions(words("-readconfig f"), () => bad))).toBe("-readconfig f");
    }
    expect(line(expandOptions(words("-readconfig f"), () => undefined))).toBe("-readconfig f");
  });

  it("-set changes the option that it names, and stays where there is none", () => {
    const set = (text: string) => line(expandOptions(words(text), () => undefined));
    expect(set("-device e1000,id=n,mac=1 -set device.n.mac=2")).toBe("-device e1000,id=n,mac=2");
    expect(set("-drive id=d,file=a -set drive.d.file=b,c")).toBe("-drive id=d,file=b,,c");
    expect(set("-set device.n.mac=2 -device e1000,id=n")).toBe("-set device.n.mac=2 -device e1000,id=n");
    expect(set('-device {"id":"n"} -set device.n.mac=2')).toBe('-device {"id":"n"} -set device.n.mac=2');
  });
});

describe("any command line", () => {
  const key = fc.stringMatching(/^[a-z][a-z0-9_.-]{0,12}$/);
  // Values as people write them, and anything else.
  const value = fc.oneof(
    fc.string(),
    fc.constantFrom("/run/a,b.sock", "a=b", ",,", 'json:{"driver":"raw"}', "on", "-1", "", "ä,ö"),
  );
  const pairs = fc.array(fc.tuple(key, fc.option(value, { nil: undefined })), { minLength: 1, maxLength: 8 });
  const json = fc.dictionary(key, fc.jsonValue()).map((each) => JSON.stringify(each));
  const withValue = fc.constantFrom(
    ..."device drive blockdev chardev netdev object machine m smp global set add-fd readconfig pidfile D append".split(
      " ",
    ),
  );
  const option = fc.oneof(
    fc.tuple(withValue, fc.oneof(pairs.map(formatKeyValues), json, value)).map(([name, text]) => [`-${name}`, text]),
    fc.constantFrom("S", "nodefaults", "enable-kvm", "daemonize", "snapshot").map((name) => [`-${name}`]),
    fc.constant(["disk.img"]),
  );

  it("comes out as it went in", () => {
    fc.assert(
      fc.property(fc.array(option), (options) => {
        const all = options.flat();
        expect(formatOptions(parseOptions(all))).toEqual(all);
        // With two dashes it is the same option.
        const doubled = options.flatMap(([name = "", ...rest]) => [name.replace(/^-/, "--"), ...rest]);
        expect(parseOptions(doubled)).toEqual(parseOptions(all));
      }),
    );
  });

  it("its lists too, whatever is in them", () => {
    fc.assert(
      fc.property(pairs, (parts) => {
        expect(parseKeyValues(formatKeyValues(parts))).toEqual(parts);
      }),
    );
    fc.assert(
      fc.property(value, (text) => {
        expect(formatKeyValues(parseKeyValues(text))).toBe(text);
      }),
    );
  });

  it("what is written into a file comes out as the same options", () => {
    const id = fc.stringMatching(/^[a-z][\w-]{0,8}$/);
    const quotable = fc.string().filter((text) => !/["\n\r]/.test(text));
    const section = fc.tuple(
      fc.constantFrom("device", "drive", "chardev", "netdev", "object"),
      id,
      fc.uniqueArray(
        fc.tuple(
          fc.stringMatching(/^[a-z][\w.-]{0,8}$/).filter((name) => name !== "id"),
          quotable,
        ),
        {
          selector: ([name]) => name,
          maxLength: 6,
        },
      ),
    );
    fc.assert(
      fc.property(fc.array(section), (sections) => {
        const file = sections.map(
          ([group, name, parts]) =>
            `[${group} "${name}"]\n${parts.map(([each, text]) => `  ${each} = "${text}"\n`).join("")}`,
        );
        const options = parseConfigFile(file.join("\n")) ?? [];
        expect(options.map(({ name, value: text = "" }) => [name, Object.fromEntries(parseKeyValues(text))])).toEqual(
          sections.map(([group, name, parts]) => [group, { ...Object.fromEntries(parts), id: name }]),
        );
      }),
    );
  });
});
