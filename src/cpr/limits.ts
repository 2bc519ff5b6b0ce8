// What QEMU leaves open and a reader of untrusted bytes must not.

/** Longest name of an fd in bytes, with its NUL. The longest that QEMU was seen to send has 257. */
export const maxNameLength = 4096;

/** Longest CPR state in bytes: 200,000 fds with long names. Anything longer is another file. */
export const maxCprStateBytes = 64 * 1024 * 1024;

/**
 * States of so many bytes, some 4,000 fds, are loaded and saved by compiled code where there is some (cprkit/compile): below,
 * making it takes longer than it saves (docs/decisions/0018-compiled-descriptions.md).
 */
export const compiledFromBytes = 128 * 1024;
