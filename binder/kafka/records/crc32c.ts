/** CRC-32C (Castagnoli), eight bytes at a time. @see https://www.rfc-editor.org/rfc/rfc3720#appendix-B.4 */

const POLYNOMIAL = 0x82f63b78
const SLICES = 8
const TABLE = makeTable()

export function crc32c(bytes: Uint8Array, begin = 0, end = bytes.length): number {
  let crc = -1
  let at = begin
  for (const last = end - SLICES; at <= last; at += SLICES) {
    const low =
      crc ^
      (byteAt(bytes, at) | (byteAt(bytes, at + 1) << 8) | (byteAt(bytes, at + 2) << 16) | (byteAt(bytes, at + 3) << 24))
    crc =
      entry(7, low & 0xff) ^
      entry(6, (low >>> 8) & 0xff) ^
      entry(5, (low >>> 16) & 0xff) ^
      entry(4, low >>> 24) ^
      entry(3, byteAt(bytes, at + 4)) ^
      entry(2, byteAt(bytes, at + 5)) ^
      entry(1, byteAt(bytes, at + 6)) ^
      entry(0, byteAt(bytes, at + 7))
  }
  for (; at < end; at++) crc = entry(0, (crc ^ byteAt(bytes, at)) & 0xff) ^ (crc >>> 8)
  return ~crc >>> 0
}

function byteAt(bytes: Uint8Array, at: number): number {
  return bytes[at] as number
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
