import type { Clock } from '../clock.ts'

/** The part of a socket that is used. */
interface Socket {
  ref?(): unknown
  unref?(): unknown
}

/** After this time without commands, the socket no longer keeps the process alive. */
const QUIET_MS = 50

/**
 * A connection that keeps the process alive only while a reply is awaited. It is checked from time to time instead of with every
 * command, so that it costs a command next to nothing.
 */
export class IdleSocket {
  readonly #clock: Clock
  #socket: Socket | undefined
  #awaited = 0
  #idle = false
  #looking = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Called after each connect; a new socket keeps the process alive. */
  connected(socket: Socket | undefined): void {
    this.#socket = socket
    this.#idle = false
    this.#lookLater()
  }

  /** Call it right before a command is sent. */
  begin(): void {
    this.#awaited++
    if (!this.#idle) return
    this.#idle = false
    this.#socket?.ref?.()
    this.#lookLater()
  }

  /** Call it when a command has its reply, or will have none. */
  end(): void {
    this.#awaited--
  }

  #lookLater(): void {
    if (this.#looking) return
    this.#looking = true
    this.#clock.setTimer(QUIET_MS, () => {
      this.#looking = false
      if (this.#awaited > 0) return this.#lookLater()
      this.#idle = true
      this.#socket?.unref?.()
    })
  }
}
