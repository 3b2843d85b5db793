/** Limit of a receiver's unsettled messages, in number and bytes: a message larger than the byte budget goes out alone. */
export class PrefetchWindow {
  readonly #maxCount: number
  readonly #maxBytes: number
  #count = 0
  #bytes = 0

  constructor({ prefetch, prefetchBytes }: { readonly prefetch: number; readonly prefetchBytes: number }) {
    this.#maxCount = prefetch
    this.#maxBytes = prefetchBytes
  }

  /** There is room for one more, whatever its size. */
  get isOpen(): boolean {
    return this.#count < this.#maxCount && (this.#bytes < this.#maxBytes || this.#count === 0)
  }

  get count(): number {
    return this.#count
  }

  get bytes(): number {
    return this.#bytes
  }

  /** A message went out. */
  take(bytes: number): void {
    this.#count++
    this.#bytes += bytes
  }

  /** This many came back, or were settled. */
  free(bytes: number, count = 1): void {
    this.#count -= count
    this.#bytes -= bytes
  }
}
