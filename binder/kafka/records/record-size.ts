import type { IncomingRecord } from '../driver.ts'

/** About what the objects of a record take beside its bytes. */
const RECORD_BYTES = 256
/** The same of a header, of a record that has many: the few that messages have are among the above. */
const HEADER_BYTES = 64
const FEW_HEADERS = 32

/** What a record of so many bytes on the wire counts for where it is lent. */
export function recordSize(wireBytes: number, headers: number): number {
  return headers <= FEW_HEADERS ? wireBytes : wireBytes + headers * HEADER_BYTES
}

/** What of a record is held while it waits. */
export function heldBytes({ bytes, value }: Pick<IncomingRecord, 'bytes' | 'value'>): number {
  return RECORD_BYTES + (bytes ?? value?.byteLength ?? 0)
}
