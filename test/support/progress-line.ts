/** A line that is written over on a terminal, and now and then a new one elsewhere. */
export class ProgressLine {
  readonly #out: NodeJS.WriteStream
  readonly #everyMs: number
  #shownAt: number
  #isOpen = false

  constructor(out: NodeJS.WriteStream) {
    this.#out = out
    this.#everyMs = out.isTTY ? 2_000 : 15_000
    this.#shownAt = performance.now()
  }

  /** @param text is asked for when a line is due */
  show(text: () => string): void {
    const now = performance.now()
    if (now - this.#shownAt < this.#everyMs) return
    this.#shownAt = now
    this.#isOpen = this.#out.isTTY
    this.#out.write(this.#out.isTTY ? `\r\u001b[K${text()}` : `${text()}\n`)
  }

  end(): void {
    if (this.#isOpen) this.#out.write('\n')
    this.#isOpen = false
  }
}
