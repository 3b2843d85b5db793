/**
 * Parses JSON from untrusted sources: `JSON.parse` takes seconds for megabytes of opening brackets, and blocks everything
 * meanwhile.
 */

/** Shorter texts are parsed in milliseconds, however deep they are nested. */
export const DEPTH_CHECKED = 64 * 1024
export const MOST_LEVELS = 1_000
const [QUOTE, BACKSLASH, OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = Buffer.from('"\\[]{}')

/** False if the text is longer than 64 KiB and nested deeper than `MOST_LEVELS`. One pass without parsing. */
export function isShallow(text: string | Uint8Array): boolean {
  if (text.length <= DEPTH_CHECKED) return true
  const bytes = typeof text === 'string' ? Buffer.from(text) : text
  let levels = 0
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]
    if (byte === QUOTE) {
      for (at++; at < bytes.length && bytes[at] !== QUOTE; at++) if (bytes[at] === BACKSLASH) at++
    } else if (byte === OPEN_LIST || byte === OPEN_OBJECT) {
      if (++levels > MOST_LEVELS) return false
    } else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) levels--
  }
  return true
}

/** Same as `JSON.parse`. @throws SyntaxError also if the value is nested too deep */
export function parseShallow(text: string): unknown {
  if (!isShallow(text)) throw new SyntaxError(`JSON nested deeper than ${MOST_LEVELS} levels`)
  return JSON.parse(text)
}
