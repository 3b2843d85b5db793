/** A position in the bytes of records. Reading beyond the end throws a RangeError. */
export class RecordCursor {
  bytes: Buffer
  at: number

  constructor(bytes: Buffer, at = 0) {
    this.bytes = bytes
    this.at = at
  }

  byte(): number {
    const byte = this.bytes[this.at++]
    if (byte === undefined) throw new RangeError('a batch ends within a record')
    return byte
  }

  /** Most numbers in a record have one byte. */
  varint(): number {
    const first = this.bytes[this.at]
    if (first === undefined || first > 0x7f) return this.#longVarint()
    this.at++
    return (first >>> 1) ^ -(first & 1)
  }

  #longVarint(): number {
    let value = 0
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte()
      value |= (byte & 0x7f) << shift
      if (byte < 0x80) return (value >>> 1) ^ -(value & 1)
    }
    throw this.#endless()
  }

  /** Milliseconds between records: exact up to 2^53. */
  varlong(): number {
    let value = 0
    let weight = 1
    for (let i = 0; i < 10; i++) {
      const byte = this.byte()
      value += (byte & 0x7f) * weight
      if (byte < 0x80) return value % 2 === 0 ? value / 2 : -(value + 1) / 2
      weight *= 128
    }
    throw this.#endless()
  }

  /** Returns the end of a field of this length at the current position. */
  endOf(length: number): number {
    const end = this.at + length
    if (length < 0 || end > this.bytes.length)
      throw new RangeError(`a field of ${length} bytes does not fit into its batch`)
    return end
  }

  /** Skips a field, which may be null. */
  skipField(): void {
    const length = this.varint()
    if (length >= 0) this.at = this.endOf(length)
  }

  /** Returns a view of a field. */
  field(): Buffer | null {
    const length = this.varint()
    if (length < 0) return null
    const end = this.endOf(length)
    const field = this.bytes.subarray(this.at, end)
    this.at = end
    return field
  }

  #endless(): RangeError {
    return new RangeError('a number in a record has no end')
  }
}
