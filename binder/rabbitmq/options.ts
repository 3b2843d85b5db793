import { SECOND } from '../../core/clock.ts'
import { invalidOption, requireInteger } from '../../core/errors.ts'
import { optionNames, refuseUnknown, requireBoolean, wrongKind } from '../../core/option-checks.ts'
import type { Resolved } from '../../core/resolved-options.ts'
import { checkProvisionMode, type ProvisionMode } from '../transport/provision-mode.ts'
import { inTurn, resolveAddresses } from './link/addresses.ts'
import type { AmqpConnection } from './link/amqplib-types.ts'
import { type Places, type RabbitPlace, resolvePlaces } from './topology/foreign-places.ts'
import { lossIn } from './topology/lossy-queue-arguments.ts'

/** Options of `rabbitTransport`. */
export interface RabbitTransportOptions {
  /**
   * `amqp://` or `amqps://` address, or one for each node of a cluster: the transport connects to any of them, and to another one
   * when the connection is lost or does not answer. amqplib is loaded at the first connect, with a heartbeat of 10 s unless the
   * address contains one. Give either this or `connect`.
   */
  readonly url?: string | readonly string[] | undefined
  /**
   * Opens a connection, for full control over TLS and credentials: `(name) => amqplib.connect('amqps://...?heartbeat=10', {
   * timeout: 5_000, clientProperties: { connection_name: name } })`. With `{ cert, key, credentials:
   * amqplib.credentials.external() }` the certificate identifies the user (SASL EXTERNAL). Called for two connections (a memory
   * alarm blocks publishing connections, and acks must not wait for it) and again after each loss. Set a heartbeat (a frozen
   * broker is noticed after two to three of them) and no `recovery`.
   */
  readonly connect?: ((name: string) => Promise<AmqpConnection>) | undefined
  /**
   * TLS of an `amqps://` address: trusted authorities, a client certificate, the expected name. The broker's certificate is
   * always checked. A function is called for each connection, so that renewed certificates are read: `tls: async () => ({ ca,
   * cert: await readFile(certFile), key: await readFile(keyFile) })`. If it throws, the connect has failed and is tried again.
   * Not with `connect`. @default the authorities of Node
   */
  readonly tls?: RabbitTls | (() => RabbitTls | Promise<RabbitTls>) | undefined
  /**
   * Whether exchanges and queues of the declared channels are created (`create`), only compared (`check`: one error names all
   * missing and different ones), or not checked (`none`). Objects that a running member needs for itself (the queues `:members`
   * and `:idle`, the exclusive queue without a group) are always created. @default 'create'
   */
  readonly provision?: ProvisionMode | undefined
  /** Time limit of a connect. @default 5 seconds */
  readonly connectTimeoutMs?: number | undefined
  /**
   * Time limit of a declare, consume or open; after it the request has failed and its connection is ended. @default 10 seconds
   */
  readonly requestTimeoutMs?: number | undefined
  /** Time limit of each step of `close`. @default 3 seconds */
  readonly closeTimeoutMs?: number | undefined
  /**
   * Type of a durable group's queues. `quorum` queues are replicated. New ones are used only after 2.5 s, because RabbitMQ 3.10
   * forgets messages that a younger one has confirmed when it is killed. Beware of their delivery limit (20 by default since
   * RabbitMQ 4): the broker drops or dead-letters a message that was redelivered that often, outside of this package's dead
   * letters. Set the policy `delivery-limit: -1` on them. @default 'classic'
   */
  readonly queueType?: 'classic' | 'quorum' | undefined
  /**
   * Further arguments for a durable group's queues, including those of dead letters and retries, e.g. `{ 'x-max-length-bytes':
   * 1e9, 'x-overflow': 'reject-publish' }`. Arguments with which the broker discards confirmed messages are refused unless
   * `mayDiscard` is true: a length limit without `reject-publish`, `x-message-ttl`, `x-expires`.
   */
  readonly queueArguments?: Readonly<Record<string, string | number | boolean>> | undefined
  /**
   * Allows arguments with which the broker discards confirmed messages that no consumer has handled: in `queueArguments`, and on
   * queues in `places`, which other programs created. @default false
   */
  readonly mayDiscard?: boolean | undefined
  /**
   * Treatment of a message that reaches no queue: `refuse` returns the outcome `unroutable`, `accept` drops it like the broker.
   * @default 'refuse'
   */
  readonly unroutable?: 'refuse' | 'accept' | undefined
  /**
   * Maximum size of a body; a larger one is refused before it is sent. RabbitMQ accepts 16 MiB by default since 4.0, 128 MiB
   * before.
   * @default 16 MiB
   */
  readonly maxMessageBytes?: number | undefined
  /**
   * Channels on exchanges and queues that another program created, by channel: `{ 'orders.placed': { exchange: 'company.orders',
   * type: 'topic', routingKey: 'order.placed' } }` or `{ 'orders.placed': { queues: { billing: 'billing.orders' } } }`. They have
   * one partition. @default none
   */
  readonly places?: Readonly<Record<string, RabbitPlace>> | undefined
  /** Interval at which a group's members compare their shares of the partitions, in ms; 0: never. @default 2 seconds */
  readonly rebalanceMs?: number | undefined
  /**
   * How long a queue that moves to another member waits for running handlers, in ms. Messages still unsettled then are withdrawn
   * and redelivered; a later `ack` has no effect. @default 30 seconds
   */
  readonly rebalanceTimeoutMs?: number | undefined
}

/** Options for Node's `tls.connect`. */
export interface RabbitTls {
  /** Certificates of trusted authorities, in PEM. */
  readonly ca?: string | Buffer | Array<string | Buffer> | undefined
  /** A client certificate and key, in PEM, if the broker requires one. */
  readonly cert?: string | Buffer | undefined
  readonly key?: string | Buffer | undefined
  readonly passphrase?: string | undefined
  /** Name in the broker's certificate. @default the host of the address */
  readonly servername?: string | undefined
}

export type ResolvedRabbitOptions = Resolved<Omit<RabbitTransportOptions, 'url' | 'tls' | 'queueType' | 'places'>> & {
  readonly places: Places
}

const RABBIT_DEFAULTS = Object.freeze({
  connectTimeoutMs: 5 * SECOND,
  requestTimeoutMs: 10 * SECOND,
  closeTimeoutMs: 3 * SECOND,
  queueType: 'classic',
  unroutable: 'refuse',
  maxMessageBytes: 16 * 1024 * 1024,
  rebalanceMs: 2 * SECOND,
  rebalanceTimeoutMs: 30 * SECOND,
})

const NAMES = optionNames<RabbitTransportOptions>({
  url: true,
  connect: true,
  tls: true,
  provision: true,
  connectTimeoutMs: true,
  requestTimeoutMs: true,
  closeTimeoutMs: true,
  queueType: true,
  queueArguments: true,
  mayDiscard: true,
  unroutable: true,
  maxMessageBytes: true,
  places: true,
  rebalanceMs: true,
  rebalanceTimeoutMs: true,
})

/** Applies the defaults and checks. @throws TypeError / RangeError naming `rabbitTransport.<option>` */
export function resolveRabbitOptions(options: RabbitTransportOptions): ResolvedRabbitOptions {
  refuseUnknown('rabbitTransport', options, NAMES)
  const merged = { ...RABBIT_DEFAULTS, ...defined(options) }
  const milliseconds = (
    name: 'connectTimeoutMs' | 'requestTimeoutMs' | 'closeTimeoutMs' | 'rebalanceMs' | 'rebalanceTimeoutMs',
    min: number,
  ) => requireInteger(`rabbitTransport.${name}`, merged[name], min)
  const connectTimeoutMs = milliseconds('connectTimeoutMs', 1)
  const queueType = oneOf('queueType', merged.queueType, ['classic', 'quorum'])
  return Object.freeze({
    connect: resolveConnect(options, connectTimeoutMs),
    provision: checkProvisionMode('rabbitTransport.provision', options.provision ?? 'create'),
    connectTimeoutMs,
    requestTimeoutMs: milliseconds('requestTimeoutMs', 1),
    closeTimeoutMs: milliseconds('closeTimeoutMs', 0),
    queueArguments: Object.freeze({
      ...checkArguments(options),
      'x-queue-type': queueType,
      'x-single-active-consumer': true,
    }),
    mayDiscard: options.mayDiscard ?? false,
    unroutable: oneOf('unroutable', merged.unroutable, ['refuse', 'accept']),
    maxMessageBytes: requireInteger('rabbitTransport.maxMessageBytes', merged.maxMessageBytes, 1),
    places: resolvePlaces(options.places),
    rebalanceMs: milliseconds('rebalanceMs', 0),
    rebalanceTimeoutMs: milliseconds('rebalanceTimeoutMs', 0),
  })
}

function resolveConnect(options: RabbitTransportOptions, timeoutMs: number): ResolvedRabbitOptions['connect'] {
  const { url, connect } = options ?? {}
  if (url !== undefined && connect !== undefined)
    throw new TypeError('rabbitTransport: expected either url or connect, got both')
  const tls = checkTls(options)
  if (connect !== undefined) {
    if (typeof connect !== 'function')
      throw invalidOption('rabbitTransport.connect', connect, 'a function such as () => amqplib.connect(url)')
    return connect
  }
  const open = async (address: string, name: string): Promise<AmqpConnection> => {
    const amqplib = await import('amqplib')
    const properties = { timeout: timeoutMs, clientProperties: { connection_name: name }, noDelay: true }
    const own = typeof tls === 'function' ? checkTlsFields(await tls()) : tls
    return amqplib.connect(address, { ...own, ...properties })
  }
  return inTurn(resolveAddresses(url), open, { timeoutMs })
}

const TLS_NAMES = optionNames<RabbitTls>({ ca: true, cert: true, key: true, passphrase: true, servername: true })

/** @throws TypeError without keys */
function checkTls({ tls, url }: RabbitTransportOptions): RabbitTransportOptions['tls'] {
  if (tls === undefined) return undefined
  const checked = typeof tls === 'function' ? tls : checkTlsFields(tls)
  const addresses: readonly unknown[] = Array.isArray(url) ? url : [url]
  if (addresses.every((address) => typeof address === 'string' && address.startsWith('amqps:'))) return checked
  throw new TypeError(
    'rabbitTransport.tls: expected amqps:// in each address of url beside it; with `connect` pass it there',
  )
}

function checkTlsFields(tls: RabbitTls): RabbitTls {
  const path = 'rabbitTransport.tls'
  refuseUnknown(path, tls, TLS_NAMES)
  const { ca, cert, key, passphrase, servername } = tls
  for (const authority of Array.isArray(ca) ? ca : [ca]) checkPem(`${path}.ca`, authority)
  for (const [name, value] of Object.entries({ cert, key })) checkPem(`${path}.${name}`, value)
  for (const [name, value] of Object.entries({ passphrase, servername }))
    if (value !== undefined && typeof value !== 'string') throw wrongKind(`${path}.${name}`, value, 'a text')
  return Object.freeze({ ...tls })
}

function checkPem(path: string, value: unknown): void {
  if (value !== undefined && typeof value !== 'string' && !(value instanceof Uint8Array))
    throw wrongKind(path, value, 'PEM as a text or a Buffer')
}

/** @throws TypeError also for arguments that lose messages, unless the user has allowed them */
function checkArguments({
  queueArguments: given,
  mayDiscard = false,
}: RabbitTransportOptions): RabbitTransportOptions['queueArguments'] {
  requireBoolean('rabbitTransport.mayDiscard', mayDiscard)
  if (given === undefined) return undefined
  const path = 'rabbitTransport.queueArguments'
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    throw wrongKind(path, given, 'an object of arguments')
  const loss = mayDiscard ? undefined : lossIn(given)
  if (loss === undefined) return given
  const { name, remedy } = loss
  throw new TypeError(
    `${path}['${name}']: got ${JSON.stringify(given[name])}, with which RabbitMQ discards messages that it has confirmed. ` +
      `${remedy}, or allow the loss with rabbitTransport({ mayDiscard: true }).`,
  )
}

function oneOf<const T extends string>(name: string, value: unknown, allowed: readonly T[]): T {
  const found = allowed.find((candidate) => candidate === value)
  if (found !== undefined) return found
  throw invalidOption(`rabbitTransport.${name}`, value, allowed.map((a) => `'${a}'`).join(' or '))
}

function defined(options: RabbitTransportOptions): Partial<RabbitTransportOptions> {
  return Object.fromEntries(Object.entries(options ?? {}).filter(([, value]) => value !== undefined))
}
