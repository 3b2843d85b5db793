import type { IncomingRecord } from '../driver.ts'

/** About what the objects of a record take beside its bytes. */
const RECORD_BYTES = 256
/** The same of a header, of a record that has many: the few that messages have are among the above. */
const HEADER_BYTES = 64
const FEW_HEADERS = 32

/** Size of a record for the lending window, from its bytes on the wire. */
export function recordSize(wireBytes: number, headers: number): number {
  return headers <= FEW_HEADERS ? wireBytes : wireBytes + headers * HEADER_BYTES
}

/** Memory of a record that waits, from its size. */
export function waitingBytes(recordBytes: number): number {
  return RECORD_BYTES + recordBytes
}

/** The same, from the record. */
export function heldBytes(record: Pick<IncomingRecord, 'bytes' | 'value'>): number {
  return waitingBytes(record.bytes ?? record.value?.byteLength ?? 0)
}
