// Text as a terminal may show it.

/** `text` with control characters and bytes that are not UTF-8 made visible: \x1b, \udc80. Backslashes are doubled. */
export function printable(text: string): string {
  return harmless(text.replaceAll("\\", "\\\\"));
}

/** The same for a message, in which names were made printable already: backslashes stay as they are. */
export function harmless(text: string): string {
  let shown = "";
  for (const char of text) {
    const code = char.codePointAt(0) as number;
    if (code < 0x20 || (code >= 0x7f && code < 0xa0)) shown += `\\x${code.toString(16).padStart(2, "0")}`;
    else if (code >= 0xd800 && code <= 0xdfff) shown += `\\u${code.toString(16)}`;
    else shown += char;
  }
  return shown;
}

/** "12,345". Without toLocaleString: loading a locale takes 11 ms. */
export function grouped(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** "1 fd", "2 fds". */
export function counted(count: number, noun: string): string {
  return `${grouped(count)} ${noun}${count === 1 ? "" : "s"}`;
}
