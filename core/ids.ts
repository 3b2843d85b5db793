import { v5, v7 } from 'uuid'

/** A new UUIDv7: unique without coordination, sortable by creation time. @see RFC 9562 section 5.7 */
export function newId(): string {
  return v7()
}

/** The one UUIDv5 of these words: what is made again from the same origin gets the same id. @see RFC 9562 section 5.5 */
export function derivedId(...words: readonly (string | number)[]): string {
  return v5(JSON.stringify(words), NAMESPACE)
}

const NAMESPACE = 'c0c07da7-0b5e-5a6a-9d3b-0e5f3f2f5a11'
