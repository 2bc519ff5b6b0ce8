// Several things at once, of which none outlives the failure of another.

/**
 * As Promise.all, but when one fails, `stop` is called and the others are waited for before its error is thrown: no
 * process, fd or question of theirs is left. `stop` must make them end soon.
 */
export async function allEnded<T extends readonly unknown[]>(
  works: { readonly [K in keyof T]: Promise<T[K]> },
  stop: () => unknown = () => undefined,
): Promise<{ -readonly [K in keyof T]: T[K] }> {
  try {
    return await Promise.all(works);
  } catch (error) {
    await stop();
    await Promise.allSettled(works);
    throw error;
  }
}
