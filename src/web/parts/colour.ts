// A colour for a name, always the same one.

/** A hue from 0 to 359. */
export function colourOf(name: string): number {
  let hue = 7;
  for (let at = 0; at < name.length; at++) hue = (hue * 31 + name.charCodeAt(at)) % 360;
  return hue;
}
