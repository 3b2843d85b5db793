import { v7 } from 'uuid'

/** A new UUIDv7: unique without coordination, sortable by creation time. @see RFC 9562 section 5.7 */
export function newId(): string {
  return v7()
}
