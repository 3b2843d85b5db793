/**
 * amqplib 2 reads frames that arrive together with the end of the handshake before it returns the connection. An error among them
 * has no listener and ends the process; a close by the broker (a shutdown, an operator) goes unnoticed, and the dead connection
 * would be kept permanently. This patch returns the connection first; the connections of `connect` are checked as well.
 *
 * It patches the one copy of amqplib that this package resolves, once. Another copy, or one with different internals, stays
 * unchanged.
 */
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { patchMethod } from '../../transport/kit/method-patch.ts'
import type { AmqpConnection } from './amqplib-types.ts'

const PATCHED = Symbol.for('concordat.rabbitmq.early-frames')

/** The used part of amqplib's connection. */
interface Connection {
  acceptLoop: (this: Connection) => void
}

/** Idempotent. @returns whether it is patched */
export function patchEarlyFrames(): boolean {
  return patchMethod(PATCHED, connectionClass, 'acceptLoop', afterHandOut)
}

function connectionClass(): Connection {
  const require = createRequire(import.meta.url)
  // Only its API is exported.
  const file = join(dirname(require.resolve('amqplib')), 'lib', 'connection.js')
  return (require(file) as { readonly Connection: { readonly prototype: Connection } }).Connection.prototype
}

function afterHandOut(acceptLoop: Connection['acceptLoop']): Connection['acceptLoop'] {
  return function (this: Connection) {
    setImmediate(() => acceptLoop.call(this))
  }
}

/**
 * True if its end has already come: no event will report it to those who receive the connection, or a channel on it, only now.
 */
export function hasEnded(connection: AmqpConnection): boolean {
  const inner = (connection as { connection?: { expectSocketClose?: unknown } }).connection
  return inner?.expectSocketClose === true
}
