/** CRC-32C (Castagnoli), sixteen bytes at a time. @see https://www.rfc-editor.org/rfc/rfc3720#appendix-B.4 */

const POLYNOMIAL = 0x82f63b78
const SLICES = 16
/** A table for each place of a byte among the sixteen, the last byte's first: one array, as V8 looks up fastest. */
const TABLE = makeTable()

/** @param end of `bytes`, exclusive @param before the checksum of the bytes before these */
export function crc32c(bytes: Uint8Array, begin = 0, end = bytes.length, before = 0): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let crc = ~before
  let at = begin
  for (const last = end - SLICES; at <= last; at += SLICES) {
    crc =
      fourAt(12, crc ^ view.getInt32(at, true)) ^
      fourAt(8, view.getInt32(at + 4, true)) ^
      fourAt(4, view.getInt32(at + 8, true)) ^
      fourAt(0, view.getInt32(at + 12, true))
  }
  for (; at < end; at++) crc = entry(0, (crc ^ (bytes[at] as number)) & 0xff) ^ (crc >>> 8)
  return ~crc >>> 0
}

/** Of four bytes behind which `after` follow. */
function fourAt(after: number, four: number): number {
  return (
    entry(after + 3, four & 0xff) ^
    entry(after + 2, (four >>> 8) & 0xff) ^
    entry(after + 1, (four >>> 16) & 0xff) ^
    entry(after, four >>> 24)
  )
}

function entry(slice: number, byte: number): number {
  return TABLE[(slice << 8) | byte] as number
}

function makeTable(): Int32Array {
  const table = new Int32Array(SLICES * 256)
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1
    table[byte] = crc
  }
  for (let slice = 1; slice < SLICES; slice++) {
    for (let byte = 0; byte < 256; byte++) {
      const before = table[((slice - 1) << 8) | byte] as number
      table[(slice << 8) | byte] = (table[before & 0xff] as number) ^ (before >>> 8)
    }
  }
  return table
}
