import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/**
 * A TCP connection point in front of a server, whose traffic can be lost on purpose: while `cut`, both sides stay connected and
 * receive nothing from each other, and data in transit is lost. (A stopped process loses nothing: the kernel delivers it
 * later.)
 */
export interface Link extends AsyncDisposable {
  readonly port: number
  /** Loses everything from now on. */
  cut(): void
  /** Ends the connections that lost something, and carries new ones. */
  heal(): void
  close(): Promise<void>
}

export async function openLink(toPort: number): Promise<Link> {
  const server = createServer()
  const link = new TcpLink(server, toPort)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return link
}

class TcpLink implements Link {
  readonly #server: Server
  readonly #toPort: number
  readonly #sockets = new Set<Socket>()
  #isCut = false

  constructor(server: Server, toPort: number) {
    this.#server = server
    this.#toPort = toPort
    server.on('connection', (near) => this.#carry(near))
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  cut(): void {
    this.#isCut = true
  }

  heal(): void {
    this.#isCut = false
    for (const socket of this.#sockets) socket.destroy()
  }

  async close(): Promise<void> {
    if (!this.#server.listening) return
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
    await once(this.#server, 'close')
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #carry(near: Socket): void {
    const far = connect(this.#toPort, '127.0.0.1')
    this.#join(near, far)
    this.#join(far, near)
  }

  #join(from: Socket, to: Socket): void {
    this.#sockets.add(from)
    from.on('data', (bytes) => {
      if (!this.#isCut) to.write(bytes)
    })
    from.on('error', () => {})
    from.on('close', () => {
      this.#sockets.delete(from)
      if (!this.#isCut) to.destroy()
    })
  }
}
