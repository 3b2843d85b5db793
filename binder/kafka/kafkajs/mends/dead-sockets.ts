/**
 * kafkajs 2.2 ends a connection more than once: when it fails, when its broker is given up, when the client closes. Of a socket that never
 * connected, or is gone, Node keeps what `end` and `unref` ask for until it connects, which it never does: listeners each time, and after ten
 * of them Node warns of a leak, in the log of whoever lost a broker. This takes them off.
 *
 * It reaches into the one copy of kafkajs that this package resolves, once. Another copy, or one that looks otherwise inside,
 * stays as it is.
 */
import { createRequire } from 'node:module'
import type { Socket } from 'node:net'

const MENDED = Symbol.for('concordat.kafka.dead-sockets')

/** kafkajs' connection, as far as it is used. */
interface Connection {
  readonly socket?: Socket | null
  disconnect: ((this: Connection) => Promise<unknown>) & { [MENDED]?: true }
}

/** Idempotent. @returns whether it is mended */
export function mendDeadSockets(): boolean {
  try {
    const require = createRequire(import.meta.url)
    const { prototype } = require('kafkajs/src/network/connection.js') as { readonly prototype: Connection }
    const { disconnect } = prototype
    if (typeof disconnect !== 'function') return false
    if (disconnect[MENDED] !== true) prototype.disconnect = withoutLeftovers(disconnect)
    return true
  } catch {
    return false
  }
}

function withoutLeftovers(disconnect: Connection['disconnect']): Connection['disconnect'] {
  const mended: Connection['disconnect'] = async function (this: Connection) {
    try {
      return await disconnect.call(this)
    } finally {
      if (this.socket?.destroyed === true) this.socket.removeAllListeners('connect')
    }
  }
  mended[MENDED] = true
  return mended
}
