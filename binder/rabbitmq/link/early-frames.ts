/**
 * amqplib 2 reads what came in one piece with the last words of the handshake before it hands the connection out. An error among
 * it is heard by nobody and ends the process; of a connection that the broker closed (a shutdown, an operator) nobody hears, and
 * it would be kept for good. This lets the connection be handed out first, and what `connect` gives is looked at all the same.
 *
 * It reaches into the one copy of amqplib that this package resolves, once. Another copy, or one that looks otherwise inside,
 * stays as it is.
 */
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { mendMethod } from '../../transport/kit/mended.ts'
import type { AmqpConnection } from './client.ts'

const MENDED = Symbol.for('concordat.rabbitmq.early-frames')

/** amqplib's connection, as far as it is used. */
interface Connection {
  acceptLoop: (this: Connection) => void
}

/** Idempotent. @returns whether it is mended */
export function mendEarlyFrames(): boolean {
  return mendMethod(MENDED, connectionClass, 'acceptLoop', afterHandOut)
}

function connectionClass(): Connection {
  const require = createRequire(import.meta.url)
  // It exports no more than its API.
  const file = join(dirname(require.resolve('amqplib')), 'lib', 'connection.js')
  return (require(file) as { readonly Connection: { readonly prototype: Connection } }).Connection.prototype
}

function afterHandOut(acceptLoop: Connection['acceptLoop']): Connection['acceptLoop'] {
  return function (this: Connection) {
    setImmediate(() => acceptLoop.call(this))
  }
}

/** Whether its end has come already: no event will tell of it to who hears of the connection, or of a channel on it, only now. */
export function hasEnded(connection: AmqpConnection): boolean {
  const inner = (connection as { connection?: { expectSocketClose?: unknown } }).connection
  return inner?.expectSocketClose === true
}
