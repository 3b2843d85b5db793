import type { IncomingRecord } from '../driver.ts'

/** Approximate memory of a record's objects besides its bytes. */
const RECORD_BYTES = 256
/** Same for a header of a record with many headers; a few are included above. */
const HEADER_BYTES = 64
const FEW_HEADERS = 32

/** Returns the size of a record for the lending window, from its bytes on the wire. */
export function recordSize(wireBytes: number, headers: number): number {
  return headers <= FEW_HEADERS ? wireBytes : wireBytes + headers * HEADER_BYTES
}

/** Returns the memory of a waiting record, from its size. */
export function waitingBytes(recordBytes: number): number {
  return RECORD_BYTES + recordBytes
}

/** Returns the memory of a waiting record. */
export function heldBytes(record: Pick<IncomingRecord, 'bytes' | 'value'>): number {
  return waitingBytes(record.bytes ?? record.value?.byteLength ?? 0)
}
