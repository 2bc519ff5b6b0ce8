// Guesses what a mistyped word was meant to be.

/** Those of the known words that are a few letters away, or have a part of the word between dashes; nearest first. */
export function nearWords(word: string, known: readonly string[]): string[] {
  const parts = new Set(word.split("-"));
  return known
    .map((other) => {
      const shared = other.split("-").filter((part) => parts.has(part)).length;
      return { other, distance: distanceOf(word, other), shared };
    })
    .filter(({ distance, shared }) => distance <= 2 || shared > 0)
    .sort((a, b) => a.distance - b.distance || b.shared - a.shared)
    .slice(0, 3)
    .map(({ other }) => other);
}

/** How many letters must be added, removed or replaced (Levenshtein). */
function distanceOf(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
