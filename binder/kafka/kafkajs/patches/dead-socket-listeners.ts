/**
 * kafkajs 2.2 ends a connection more than once: when it fails, when its broker is given up, when the client closes. For a socket that never
 * connected, or is gone, Node keeps the requests of `end` and `unref` until it connects, which it never does: more listeners each time, and
 * after ten of them Node logs a warning about a leak. This removes them.
 *
 * It patches the one copy of kafkajs that this package resolves, once. Another copy, or one with different internals, stays unchanged.
 */
import { createRequire } from 'node:module'
import type { Socket } from 'node:net'
import { patchMethod } from '../../../transport/kit/method-patch.ts'

const PATCHED = Symbol.for('concordat.kafka.dead-sockets')

/** kafkajs' connection, as far as it is used. */
interface Connection {
  readonly socket?: Socket | null
  disconnect: (this: Connection) => Promise<unknown>
}

/** Idempotent. @returns whether it is patched */
export function patchDeadSockets(): boolean {
  return patchMethod(PATCHED, connectionClass, 'disconnect', withoutLeftovers)
}

function connectionClass(): Connection {
  const require = createRequire(import.meta.url)
  return (require('kafkajs/src/network/connection.js') as { readonly prototype: Connection }).prototype
}

function withoutLeftovers(disconnect: Connection['disconnect']): Connection['disconnect'] {
  return async function (this: Connection) {
    try {
      return await disconnect.call(this)
    } finally {
      if (this.socket?.destroyed === true) this.socket.removeAllListeners('connect')
    }
  }
}
