// What is secret does not get into the machine's data. Only what QEMU gives back can: passwords of VNC and SPICE can't be
// read at all.

/** Object types that hold a secret in a property that can be read. */
export function holdsSecret(type: string): boolean {
  return /^secret(_|$)/.test(type);
}

/** Properties with a secret, of whatever object. An id of a secret object, such as "password-secret", is none. */
export function isSecretProperty(type: string, name: string): boolean {
  return (holdsSecret(type) && name === "data") || /^(osk|password|passphrase|passwd)$/.test(name);
}

/** `value` with the passwords in its texts replaced: in URLs, in "json:{…}" names, in options of RBD. */
export function withoutPasswords(value: unknown): unknown {
  if (typeof value === "string") return hidden(value);
  if (Array.isArray(value)) return value.map(withoutPasswords);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, withoutPasswords(member)]));
}

function hidden(text: string): string {
  // Of the thousands of texts in a machine few have any of what is looked for.
  if (!/[:=]/.test(text)) return text;
  return text
    .replace(/\b([a-z][a-z0-9+.-]{0,30}:\/\/[^\s/@:"]{0,256}):[^\s/@"]{0,4096}@/gi, "$1:***@")
    .replace(/("(?:[\w.-]*\.)?(?:password|cookie)"\s*:\s*)"(?:[^"\\]|\\.)*"/g, '$1"***"')
    .replace(/((?:^|[:,])(?:key|password|cookie)=)[^:,]+/g, "$1***");
}
