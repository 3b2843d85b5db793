import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

export type Direction = 'requests' | 'replies' | 'both'

/**
 * A network between one client and one server, with faults. A TCP proxy on 127.0.0.1:
 *
 * - `cut`: connections break, new ones are refused.
 * - `hold`: a black hole. Nothing arrives in that direction, connections stay open and new ones seem to open. Held
 *   bytes arrive after `heal`, even if the client has given up and gone: stragglers, as with TCP.
 * - `slow`: everything arrives later, in order.
 * - `tear`: the next reply arrives in half, then the connection is reset.
 */
export class Link {
  readonly #server: Server
  readonly #pairs = new Set<Pair>()
  readonly #settings: Settings = { held: { requests: false, replies: false }, delayMs: () => 0, tearing: false }
  #target: number
  #cut = false
  /** Bytes and connections that met a fault. */
  #bitten = 0
  #lost = 0

  private constructor(target: number) {
    this.#target = target
    this.#server = createServer((client) => this.#accept(client))
  }

  static async to(port: number): Promise<Link> {
    const link = new Link(port)
    link.#server.listen(0, '127.0.0.1')
    await once(link.#server, 'listening')
    return link
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Bytes that were held, delayed or torn, and connections that were refused. */
  get bitten(): number {
    return this.#bitten
  }

  /** Connections that ended. */
  get lost(): number {
    return this.#lost
  }

  cut(): void {
    this.#cut = true
    this.#breakAll()
  }

  hold(direction: Direction): void {
    const { held } = this.#settings
    if (direction !== 'replies') held.requests = true
    if (direction !== 'requests') held.replies = true
  }

  slow(delayMs: () => number): void {
    this.#settings.delayMs = delayMs
  }

  tear(): void {
    this.#settings.tearing = true
  }

  heal(): void {
    this.#cut = false
    this.#settings.held.requests = false
    this.#settings.held.replies = false
    this.#settings.delayMs = () => 0
    this.#settings.tearing = false
    for (const pair of this.#pairs) pair.flush()
  }

  /** Connects to another server from now on; connections to the first break. */
  retarget(port: number): void {
    this.#target = port
    this.#breakAll()
  }

  async close(): Promise<void> {
    this.#breakAll()
    if (!this.#server.listening) return
    this.#server.close()
    await once(this.#server, 'close')
  }

  #accept(client: Socket): void {
    if (this.#cut) {
      this.#bitten += 1
      client.resetAndDestroy()
      return
    }
    const pair = new Pair(client, connect(this.#target, '127.0.0.1'), this.#settings, (bytes) => {
      this.#bitten += bytes
    })
    this.#pairs.add(pair)
    pair.onEnd({
      first: () => {
        this.#lost += 1
      },
      both: () => this.#pairs.delete(pair),
    })
  }

  #breakAll(): void {
    for (const pair of this.#pairs) pair.break()
  }
}

interface Settings {
  readonly held: { requests: boolean; replies: boolean }
  delayMs: () => number
  tearing: boolean
}

/** The two sockets of one connection through a link. */
class Pair {
  readonly #client: Socket
  readonly #server: Socket
  readonly #requests: Pump
  readonly #replies: Pump
  #ended: { readonly first: () => void; readonly both: () => void } | undefined
  #halfClosed = false

  constructor(client: Socket, server: Socket, settings: Settings, bitten: (bytes: number) => void) {
    this.#client = client
    this.#server = server
    client.setNoDelay()
    server.setNoDelay()
    this.#requests = new Pump(client, server, settings, 'requests', bitten)
    this.#replies = new Pump(server, client, settings, 'replies', bitten)
    for (const socket of [client, server]) {
      socket.on('error', () => {})
      socket.on('close', () => this.#onClose())
    }
  }

  onEnd(listeners: { readonly first: () => void; readonly both: () => void }): void {
    this.#ended = listeners
  }

  flush(): void {
    this.#requests.flush()
    this.#replies.flush()
  }

  break(): void {
    this.#client.resetAndDestroy()
    this.#server.destroy()
  }

  #onClose(): void {
    if (!this.#halfClosed) this.#ended?.first()
    this.#halfClosed = true
    if (this.#client.destroyed && this.#server.destroyed) this.#ended?.both()
  }
}

/**
 * One direction of a link: a queue, so that delayed and held bytes keep their order; the end of the stream waits behind
 * them.
 */
class Pump {
  readonly #to: Socket
  readonly #settings: Settings
  readonly #direction: 'requests' | 'replies'
  readonly #bitten: (bytes: number) => void
  readonly #queue: Array<{ readonly bytes: Buffer | undefined; readonly due: number }> = []
  readonly #from: Socket
  #timer: NodeJS.Timeout | undefined

  constructor(
    from: Socket,
    to: Socket,
    settings: Settings,
    direction: 'requests' | 'replies',
    bitten: (n: number) => void,
  ) {
    this.#from = from
    this.#to = to
    this.#settings = settings
    this.#direction = direction
    this.#bitten = bitten
    from.on('data', (bytes) => this.#add(bytes))
    from.on('end', () => this.#add(undefined))
    from.on('close', () => this.#add(undefined))
    to.on('close', () => clearTimeout(this.#timer))
  }

  flush(): void {
    clearTimeout(this.#timer)
    for (;;) {
      const first = this.#queue[0]
      if (first === undefined || this.#settings.held[this.#direction] || this.#to.destroyed) return
      const waitMs = first.due - performance.now()
      if (waitMs > 0) {
        this.#timer = setTimeout(() => this.flush(), waitMs)
        return
      }
      this.#queue.shift()
      if (first.bytes === undefined) this.#to.end()
      else this.#to.write(first.bytes)
    }
  }

  #add(bytes: Buffer | undefined): void {
    const { held, delayMs, tearing } = this.#settings
    if (tearing && bytes !== undefined && this.#direction === 'replies') {
      this.#settings.tearing = false
      this.#bitten(bytes.length)
      this.#to.write(bytes.subarray(0, bytes.length >> 1), () => this.#to.resetAndDestroy())
      this.#from.destroy()
      return
    }
    const wait = delayMs()
    if (bytes !== undefined && (held[this.#direction] || wait > 0)) this.#bitten(bytes.length)
    this.#queue.push({ bytes, due: performance.now() + wait })
    this.flush()
  }
}
