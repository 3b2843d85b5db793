/**
 * Bytes in the pieces in which a socket delivered them. Joining the pieces of a fetch took more time than checking and reading
 * its records (bench/README), so only bytes across a boundary are copied.
 */
export class ChunkedBytes {
  readonly buffers: readonly Buffer[]
  readonly length: number

  /** @param buffers must not change afterwards */
  constructor(buffers: readonly Buffer[]) {
    this.buffers = buffers
    this.length = buffers.reduce((sum, { length }) => sum + length, 0)
  }

  static of(bytes: Buffer): ChunkedBytes {
    return new ChunkedBytes([bytes])
  }

  /** Memory that stays allocated as long as a part of these bytes does. */
  get backingBytes(): number {
    return this.buffers.reduce((sum, { buffer }) => sum + buffer.byteLength, 0)
  }

  /** Returns a part without copying. @param end exclusive; limited to the last byte */
  part(begin: number, end: number): ChunkedBytes {
    const buffers: Buffer[] = []
    let start = 0
    for (const buffer of this.buffers) {
      if (start >= end) break
      const after = start + buffer.length
      if (after > begin) buffers.push(buffer.subarray(Math.max(0, begin - start), end - start))
      start = after
    }
    return new ChunkedBytes(buffers)
  }

  /**
   * Returns the bytes from there on in one buffer: the rest of a piece, or, if `length` bytes extend into the next one, a copy of
   * these. Fewer than that at the end.
   */
  from(begin: number, length: number): Buffer {
    let start = 0
    for (const buffer of this.buffers) {
      const after = start + buffer.length
      if (begin < after)
        return begin + length <= after || after === this.length
          ? buffer.subarray(begin - start)
          : this.part(begin, begin + length).joined()
      start = after
    }
    return NOTHING
  }

  /** Returns one buffer: a view of a single piece, else a copy. */
  joined(): Buffer {
    const [first] = this.buffers
    return this.buffers.length === 1 && first !== undefined ? first : Buffer.concat(this.buffers, this.length)
  }

  /** Returns the memory of the buffers that contain a part. */
  around(begin: number, end: number): number {
    let [start, held] = [0, 0]
    for (const { length } of this.buffers) {
      if (start < end && start + length > begin) held += length
      start += length
    }
    return held
  }

  /** Returns a copy in its own memory. */
  copy(): ChunkedBytes {
    return ChunkedBytes.of(Buffer.concat(this.buffers, this.length))
  }
}

const NOTHING = Buffer.alloc(0)
