/**
 * Splits bytes into lines. Memory holds at most one line of `maxBytes` and one chunk: a longer line is counted, and its
 * content dropped.
 */
export interface RawLine {
  /** Number of the line in the file, from 1, counting blank lines. */
  readonly line: number
  /** Content without the line end; `undefined` for a line longer than `maxBytes`. */
  readonly bytes: Uint8Array | undefined
}

const LF = 0x0a
const CR = 0x0d

/** Yields the lines that are not blank. Line ends are LF or CR LF; the last line may have none. */
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
    // Reads one byte over the limit, because the last byte may be the CR of a line end.
    if (this.#length <= this.#maxBytes + 1) this.#parts.push(part.slice())
    else this.#parts = []
  }

  /** Ends the current line and begins the next. @returns the line, or `undefined` if it is blank */
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
