// The one place from which the fleet's command line writes. What came from hosts and from the database is made harmless.

/** Writes lines for people to standard output. */
export function print(text: string): void {
  process.stdout.write(`${harmless(text)}\n`);
}

/** Writes a value as one line of JSON to standard output. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value).replace(/[\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g, escaped)}\n`);
}

/** Writes a value with --json, else the words for people. */
export function tell({ json }: { readonly json?: true }, value: unknown, text: string): void {
  if (json === true) printJson(value);
  else print(text);
}

/** Writes one line to standard error. */
export function printError(text: string): void {
  process.stderr.write(`cprkit: ${harmless(text).replaceAll("\n", " ")}\n`);
}

const escaped = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;

/** A terminal obeys control characters, and shows text in another order. */
function harmless(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are meant
  return text.replace(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g, escaped);
}
