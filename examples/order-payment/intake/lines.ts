/**
 * Bytes to lines, holding never more than one line of `maxBytes` and one chunk: a line that is longer is counted and
 * skipped, however long it is.
 */
export interface RawLine {
  /** Its number in the file, from 1; blank lines count. */
  readonly line: number
  /** Without its line end; `undefined` when it was longer than `maxBytes`. */
  readonly bytes: Uint8Array | undefined
}

const LF = 0x0a
const CR = 0x0d

/** Lines that hold something else than white space. Ends of line: LF or CR LF; the last one may have none. */
export async function* readLines(chunks: AsyncIterable<Uint8Array>, maxBytes: number): AsyncGenerator<RawLine> {
  const collector = new LineCollector(maxBytes)
  for await (const chunk of chunks) {
    let from = 0
    for (let to = chunk.indexOf(LF); to !== -1; to = chunk.indexOf(LF, from)) {
      collector.add(chunk.subarray(from, to))
      const line = collector.end()
      if (line !== undefined) yield line
      from = to + 1
    }
    collector.add(chunk.subarray(from))
  }
  const last = collector.end()
  if (last !== undefined) yield last
}

class LineCollector {
  readonly #maxBytes: number
  #line = 0
  #parts: Uint8Array[] = []
  #length = 0
  #blank = true

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  add(part: Uint8Array): void {
    if (part.length === 0) return
    this.#blank &&= part.every(isSpace)
    this.#length += part.length
    // One more than the limit, because the last byte may be the CR of a line end.
    if (this.#length <= this.#maxBytes + 1) this.#parts.push(part.slice())
    else this.#parts = []
  }

  /** The line collected so far, unless it is blank; begins the next one. */
  end(): RawLine | undefined {
    this.#line++
    const line = this.#blank ? undefined : { line: this.#line, bytes: this.#bytes() }
    this.#parts = []
    this.#length = 0
    this.#blank = true
    return line
  }

  #bytes(): Uint8Array | undefined {
    if (this.#length > this.#maxBytes + 1) return undefined
    const all = Buffer.concat(this.#parts)
    const bytes = all.at(-1) === CR ? all.subarray(0, -1) : all
    return bytes.length > this.#maxBytes ? undefined : bytes
  }
}

/** Space, tab, LF, VT, FF, CR. */
function isSpace(byte: number): boolean {
  return byte === 0x20 || (byte >= 0x09 && byte <= 0x0d)
}
