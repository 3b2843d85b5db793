/** The end of a page as an opaque text, which the caller passes back unchanged. */
import { invalidOption } from 'concordat/extension'

export function writeCursor(place: readonly string[]): string {
  return Buffer.from(JSON.stringify(place)).toString('base64url')
}

/**
 * @throws TypeError naming the path, for a text that no page has returned
 */
export function readCursor(path: string, cursor: unknown, length: number): readonly string[] {
  try {
    const place: unknown = JSON.parse(Buffer.from(String(cursor), 'base64url').toString('utf8'))
    if (
      Array.isArray(place) &&
      place.length === length &&
      place.every((part) => typeof part === 'string' && !part.includes('\0'))
    ) {
      if (/^\d{1,18}$/.test(place[0] as string)) return place as readonly string[]
    }
  } catch {
    // Thrown below.
  }
  throw invalidOption(path, cursor, 'what `next` of the page before was')
}
