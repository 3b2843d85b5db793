/** Limits the unsettled messages of a receiver, by number and bytes: a message larger than the byte limit is delivered alone. */
export class PrefetchWindow {
  readonly #maxCount: number
  readonly #maxBytes: number
  #count = 0
  #bytes = 0

  constructor({ prefetch, prefetchBytes }: { readonly prefetch: number; readonly prefetchBytes: number }) {
    this.#maxCount = prefetch
    this.#maxBytes = prefetchBytes
  }

  /** True if one more message may be delivered, whatever its size. */
  get isOpen(): boolean {
    return this.#count < this.#maxCount && (this.#bytes < this.#maxBytes || this.#count === 0)
  }

  get count(): number {
    return this.#count
  }

  get bytes(): number {
    return this.#bytes
  }

  /** A message was delivered. */
  take(bytes: number): void {
    this.#count++
    this.#bytes += bytes
  }

  /** This many messages were returned or settled. */
  free(bytes: number, count = 1): void {
    this.#count -= count
    this.#bytes -= bytes
  }
}
