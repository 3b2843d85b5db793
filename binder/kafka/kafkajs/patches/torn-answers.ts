/**
 * kafkajs 2.2 keeps what it has read of an answer when the connection is reset in the middle of it, and takes the first
 * bytes of the next connection for the rest. From then on it understands nothing there: each request times out, while
 * heartbeats, which have a connection of their own, keep the place in the group, so that the partitions stand still for
 * minutes. This lets each connection begin with nothing read.
 *
 * It reaches into the one copy of kafkajs that this package resolves, once, before the first connection. Another copy,
 * or one that looks otherwise inside, stays as it is.
 */
import { createRequire } from 'node:module'
import { patchMethod } from '../../../transport/kit/method-patch.ts'

const PATCHED = Symbol.for('concordat.kafka.torn-answers')
const LENGTH_BYTES = 4

/** kafkajs' connection, as far as it is used. */
interface Connection {
  chunks: Buffer[]
  bytesBuffered: number
  /** Before the next answer, or its length, can be read. */
  bytesNeeded: number
  readonly isConnected: (this: Connection) => boolean
  connect: (this: Connection) => Promise<unknown>
}

/** Idempotent. @returns whether it is patched */
export function patchTornAnswers(): boolean {
  return patchMethod(PATCHED, connectionClass, 'connect', afterForgetting)
}

/** @throws TypeError when it is another one inside */
function connectionClass(): Connection {
  const require = createRequire(import.meta.url)
  const { prototype } = require('kafkajs/src/network/connection.js') as { readonly prototype: Connection }
  if (typeof prototype.isConnected !== 'function') throw new TypeError('kafkajs: a connection has no isConnected')
  return prototype
}

function afterForgetting(connect: Connection['connect']): Connection['connect'] {
  return function (this: Connection) {
    if (!this.isConnected() && Array.isArray(this.chunks)) {
      this.chunks = []
      this.bytesBuffered = 0
      this.bytesNeeded = LENGTH_BYTES
    }
    return connect.call(this)
  }
}
