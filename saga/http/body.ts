/** Reads a request or response body up to a size limit. */

/**
 * Returns the bytes, or `undefined` if there are more than the limit; the rest is not read. @param signal ends the reading
 * @throws the error of the stream
 */
export async function readAtMost(
  body: ReadableStream<Uint8Array> | null,
  maxBytes: number,
  signal?: AbortSignal,
): Promise<Uint8Array | undefined> {
  if (body === null) return new Uint8Array()
  const reader = body.getReader()
  const stop = (): void => void reader.cancel(signal?.reason).catch(() => {})
  if (signal?.aborted === true) stop()
  else signal?.addEventListener('abort', stop, { once: true })
  const chunks: Uint8Array[] = []
  let bytes = 0
  for (;;) {
    const { done, value } = await reader.read()
    signal?.throwIfAborted()
    if (done) {
      signal?.removeEventListener('abort', stop)
      return Buffer.concat(chunks)
    }
    bytes += value.byteLength
    if (bytes > maxBytes) {
      reader.cancel().catch(() => {})
      return undefined
    }
    chunks.push(value)
  }
}
