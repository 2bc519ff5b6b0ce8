// What QEMU leaves open and a reader of untrusted bytes must not.

/** Longest name of an fd in bytes, with its NUL. The longest that QEMU was seen to send has 257. */
export const maxNameLength = 4096;

/** Longest CPR state in bytes: 200,000 fds with long names. Anything longer is another file. */
export const maxCprStateBytes = 64 * 1024 * 1024;
