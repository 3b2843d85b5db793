import { SECOND } from '../../../core/clock.ts'
import type { TopologyPart } from '../../transport/transport.ts'
import type { AmqpChannel } from '../link/amqplib-types.ts'

/** Interval at which a member binds its queues again: an existing binding is not changed. */
export const BIND_MS: number = 5 * SECOND

/** The declaration of an exchange or a queue: the same data is declared, compared and described. */
export type Declaration = ExchangeDeclaration | QueueDeclaration

export interface ExchangeDeclaration {
  readonly kind: 'exchange'
  readonly name: string
  readonly type: 'direct' | 'fanout' | 'headers'
  readonly options: { readonly durable: true; readonly internal?: boolean; readonly alternateExchange?: string }
}

export interface QueueDeclaration {
  readonly kind: 'queue'
  readonly name: string
  readonly arguments: Readonly<Record<string, string | number | boolean>>
  /** Bound to one exchange, by a routing key or by headers. */
  readonly exchange: string
  readonly routingKey: string
  readonly headers?: Readonly<Record<string, string | boolean>>
}

/** For messages: `queue "orders:audit"`. */
export const nameOf = ({ kind, name }: Pick<Declaration, 'kind' | 'name'>): string => `${kind} "${name}"`

/** Creates it with its binding. Repeated calls have no effect. @throws the broker's error, which closes the channel */
export async function declare(channel: AmqpChannel, declaration: Declaration): Promise<void> {
  await declareUnbound(channel, declaration)
  if (declaration.kind === 'exchange') return
  const { name, exchange, routingKey, headers } = declaration
  await channel.bindQueue(name, exchange, routingKey, headers)
}

/** @throws 404 if it is missing; creates nothing */
export async function look(channel: AmqpChannel, { kind, name }: Pick<Declaration, 'kind' | 'name'>): Promise<void> {
  await (kind === 'exchange' ? channel.checkExchange(name) : channel.checkQueue(name))
}

/** For an existing object this compares type and arguments. @throws 406 if they differ */
export async function declareUnbound(channel: AmqpChannel, declaration: Declaration): Promise<void> {
  const { name } = declaration
  if (declaration.kind === 'exchange') await channel.assertExchange(name, declaration.type, declaration.options)
  else await channel.assertQueue(name, { durable: true, arguments: { ...declaration.arguments } })
}

/** In the terms of `binder.describe()`. */
export function partOf(declaration: Declaration): TopologyPart {
  const { kind, name } = declaration
  if (declaration.kind === 'queue') {
    const { exchange, routingKey } = declaration
    const details = { durable: true, ...declaration.arguments, exchange }
    return { kind, name, details: routingKey === '' ? details : { ...details, routingKey } }
  }
  const { type, options } = declaration
  const { alternateExchange, ...rest } = options
  const alternate = alternateExchange === undefined ? {} : { 'alternate-exchange': alternateExchange }
  return { kind, name, details: { type, ...rest, ...alternate } }
}

/** An exchange whose existence is a mark; nothing is ever sent to it. */
export function settledMark(name: string): ExchangeDeclaration {
  return { kind: 'exchange', name, type: 'fanout', options: { durable: true, internal: true } }
}

/** Opens a channel for one question and closes it. @throws the broker's error */
export type Ask = <T>(what: string, question: (channel: AmqpChannel) => Promise<T>) => Promise<T>
