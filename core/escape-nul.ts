/**
 * Converts any well-formed text to one that PostgreSQL can store, i.e. without NUL: NUL and the character after it are each
 * written as two. Prefixes stay prefixes, and the byte order is kept.
 */
const NUL = '\0'
const NEXT = '\u0001'
const WRITTEN_NUL = '\u0001\u0001'
const WRITTEN_NEXT = '\u0001\u0002'
const ORIGINAL: Readonly<Record<string, string>> = { '\u0001': NUL, '\u0002': NEXT }

export function storableText(text: string): string {
  if (!text.includes(NUL) && !text.includes(NEXT)) return text
  return text.replaceAll(NEXT, WRITTEN_NEXT).replaceAll(NUL, WRITTEN_NUL)
}

export function originalText(stored: string): string {
  if (!stored.includes(NEXT)) return stored
  let text = ''
  for (let at = 0; at < stored.length; at++) {
    const char = stored.charAt(at)
    text += char === NEXT ? ORIGINAL[stored.charAt(++at)] : char
  }
  return text
}
