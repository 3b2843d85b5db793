/** Server-sent events: first the whole snapshot, then its changes. */
import { randomUUID } from 'node:crypto'
import { MINUTE, SECOND } from 'concordat/core'
import { HEADERS } from './browser-protections.ts'
import type { LiveSnapshot, Snapshot } from './snapshot.ts'

const MAX_STREAMS = 50
const MAX_UNSENT_BYTES = 1_024 * 1_024
const COMMENT_MS = 15 * SECOND
/** The page then reconnects, and its rights are checked again. */
const LIFE_MS = 10 * MINUTE
const RETRY_MS = 2 * SECOND

interface Stream {
  readonly end: () => void
}

export class Streams {
  readonly #snapshot: LiveSnapshot
  readonly #open = new Set<Stream>()
  readonly #boot = randomUUID().slice(-12)
  #count = 0

  constructor(snapshot: LiveSnapshot) {
    this.#snapshot = snapshot
  }

  get size(): number {
    return this.#open.size
  }

  /** If there are too many, the oldest is closed. */
  open(): Response {
    if (this.#open.size >= MAX_STREAMS) [...this.#open][0]?.end()
    let begun: Stream | undefined
    const body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          begun = this.#begin(controller)
        },
        cancel: () => begun?.end(),
      },
      new ByteLengthQueuingStrategy({ highWaterMark: MAX_UNSENT_BYTES }),
    )
    return new Response(body, {
      headers: {
        ...HEADERS,
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-store, no-transform',
        'x-accel-buffering': 'no',
      },
    })
  }

  close(): void {
    for (const stream of this.#open) stream.end()
  }

  #begin(controller: ReadableStreamDefaultController<Uint8Array>): Stream {
    const encoder = new TextEncoder()
    // A snapshot that is too large ends the stream before it listens.
    let leave = (): void => {}
    const write = (text: string): void => {
      if (!this.#open.has(stream)) return
      controller.enqueue(encoder.encode(text))
      // Without a reader it would grow without a limit.
      if ((controller.desiredSize ?? 0) <= 0) stream.end()
    }
    const send = (event: string, data: Snapshot): void =>
      write(`id: ${this.#boot}-${++this.#count}\nevent: ${event}\ndata: ${JSON.stringify(data)}\n\n`)
    const comments = setInterval(() => write(': alive\n\n'), COMMENT_MS)
    const life = setTimeout(() => stream.end(), LIFE_MS)
    comments.unref()
    life.unref()
    const stream: Stream = {
      end: () => {
        if (!this.#open.delete(stream)) return
        clearInterval(comments)
        clearTimeout(life)
        leave()
        try {
          controller.close()
        } catch {
          // The reader has gone: it is closed.
        }
      },
    }
    this.#open.add(stream)
    write(`retry: ${RETRY_MS}\n\n`)
    send('snapshot', this.#snapshot.current)
    if (!this.#open.has(stream)) return stream
    leave = this.#snapshot.listen((change) => send('patch', change))
    // The stream may have ended while it subscribed, before there was anything to unsubscribe.
    if (!this.#open.has(stream)) leave()
    return stream
  }
}
