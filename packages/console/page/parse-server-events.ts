/**
 * Parses the server-sent events of a response, in the console's format: one line of data each.
 *
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html
 */
export interface ServerEvent {
  readonly event: string
  readonly data: string
}

/**
 * @param heard called with each chunk, including comments
 */
export async function* eventsIn(body: ReadableStream<Uint8Array>, heard: () => void): AsyncGenerator<ServerEvent> {
  const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader()
  let rest = ''
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      heard()
      const blocks = (rest + value).split('\n\n')
      rest = blocks.pop() ?? ''
      for (const block of blocks) {
        const fields = new Map(
          block.split('\n').map((line) => [line.split(':', 1)[0] ?? '', line.replace(/^\w*: ?/, '')]),
        )
        const data = fields.get('data')
        if (data !== undefined) yield { event: fields.get('event') ?? 'message', data }
      }
    }
  } finally {
    await reader.cancel().catch(() => {})
  }
}
