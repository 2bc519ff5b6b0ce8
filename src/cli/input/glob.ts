// Names with wildcards.

/**
 * A test for whole names: "*" stands for any characters, also "/", "?" for one, and "{a,b}" for either. Case does not count.
 * Braces without their partner, or inside others, stand for themselves.
 */
export function globTest(pattern: string): (name: string) => boolean {
  const tests = alternatives(pattern).map((one) => {
    const source = one
      .replace(/[.+^${}()|[\]\\]/g, "\\$&")
      .replace(/\*+/g, ".*")
      .replaceAll("?", ".");
    return new RegExp(`^${source}$`, "sui");
  });
  return (name) => tests.some((test) => test.test(name));
}

/** More than anybody types; a pattern of many braces would be as many as their product. */
const maxAlternatives = 1000;

function alternatives(pattern: string): string[] {
  let all = [""];
  let at = 0;
  for (const match of pattern.matchAll(/\{([^{}]*,[^{}]*)\}/g)) {
    const before = pattern.slice(at, match.index);
    const words = (match[1] ?? "").split(",");
    if (all.length * words.length > maxAlternatives) return [pattern];
    all = all.flatMap((start) => words.map((word) => start + before + word));
    at = match.index + match[0].length;
  }
  return all.map((start) => start + pattern.slice(at));
}
