/** Error for a server that does not answer or refuses the login: names the server, its address and the settings to check. */
import { toError } from 'concordat/extension'
import type { Values } from './command.ts'
import { text } from './values.ts'

/** Exit code 3. */
export class ServerAway extends Error {}

type Environment = Readonly<Record<string, string | undefined>>

interface Fault {
  readonly code: string
  readonly kind: unknown
  readonly port: unknown
  readonly message: string
}

interface Server {
  readonly kind: 'PostgreSQL' | 'MariaDB or MySQL' | 'Redis' | 'Kafka' | 'RabbitMQ'
  /** Without user and password. */
  readonly address: string
  readonly port: string
  /** The setting with its address. */
  readonly said: string
}

/** Connection errors of the socket, and of PostgreSQL: classes 08, 57P. */
const UNREACHABLE =
  /^(?:E(?:CONNREFUSED|CONNRESET|NOTFOUND|TIMEDOUT|HOSTUNREACH|NETUNREACH|AI_AGAIN)|EPIPE|08.{3}|57P0.|53300)$/
/** Codes of a server that answers and refuses the login: PostgreSQL's classes 28 and 3D, MariaDB's codes. */
const REFUSED = /^(?:28.{3}|3D000|ER_(?:ACCESS_DENIED|DBACCESS_DENIED|BAD_DB|NOT_SUPPORTED_AUTH_MODE).*)$/
const OF_MYSQL = /^ER_/
/** Texts of brokers, which have no code: RabbitMQ ends the handshake, kafkajs names the mechanism. */
const LOGIN_REFUSED = /Handshake terminated by server: 403|SASL authentication failed|SASL .* mechanism/
/**
 * Codes of Node and OpenSSL for a failed handshake or a refused certificate, and texts of `pg` and mysql2 for a server without
 * TLS.
 */
const NO_TLS =
  /^(?:ERR_TLS_|ERR_SSL_|EPROTO$|CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|HOSTNAME_MISMATCH|HANDSHAKE_NO_SSL_SUPPORT|HANDSHAKE_SSL_ERROR)/
const WITHOUT_TLS = /does not support (?:SSL|secure) connection/
/** Advice for programs at the end of an error. */
const ADVICE = /\. Check the user and password.*$/
/** No connection was established, so the server received nothing. */
const NEVER_ASKED = /^(?:E(?:CONNREFUSED|NOTFOUND|HOSTUNREACH|NETUNREACH|AI_AGAIN)|08001|08004|57P03|53300)$/
const NO_CONNECTION = /when trying to connect/
const SILENT = /timeout exceeded|Query read timeout|Connection terminated/
/** Codes of stores, and kinds of a transport's error, that mean unavailable. */
const AWAY = new Set([
  'locks.store_unavailable',
  'cluster.store_unavailable',
  'saga.mysql_unanswered',
  'bus.not_ready',
  'unavailable',
  'timeout',
])
const OF_BROKER = /^(?:binder\.|bus\.)/
const OF_STORE = /^(?:locks|cluster)\.store_unavailable$/

/**
 * @param acts the command changes something: the server may have done it, with only its answer lost
 * @returns an error that names the server, if the given one says that a server is unavailable; otherwise the given one
 */
export function namingTheServer(error: unknown, values: Values, env: Environment, acts = false): unknown {
  const fault = faultOf(error)
  const isRefused = REFUSED.test(fault.code) || (OF_BROKER.test(fault.code) && LOGIN_REFUSED.test(fault.message))
  const isTls = NO_TLS.test(fault.code) || WITHOUT_TLS.test(fault.message)
  if (!isRefused && !isTls && !isAway(fault)) return error
  const server = serverOf(fault, serversOf(values, env))
  const why = fault.message.replace(/\.$/, '')
  if (isRefused)
    return new ServerAway(
      `${server.kind} at ${server.address} does not let this command in: ${why.replace(ADVICE, '')}. Check the user, its password and ${OF_BROKER.test(fault.code) ? 'its rights' : 'the database'} in ${server.said}`,
      { cause: error },
    )
  if (isTls)
    return new ServerAway(
      `no TLS connection to ${server.kind} at ${server.address}: ${why}. Check whether it offers TLS, its certificate, and sslmode or ssl in ${server.said}`,
      { cause: error },
    )
  const look = /\bCheck that /.test(why) ? '' : '. Check that it is up and reachable'
  const isUnsure = acts && !NEVER_ASKED.test(fault.code) && !NO_CONNECTION.test(fault.message)
  const unsure = isUnsure
    ? '. It may have been done, or a part of it: look before you repeat it (npx concordat audit)'
    : ''
  return new ServerAway(
    `${server.kind} at ${server.address} does not answer: ${why}${look}. The address is from ${server.said}${unsure}`,
    { cause: error },
  )
}

function isAway({ code, kind, message }: Fault): boolean {
  return AWAY.has(String(code === 'binder.transport' ? kind : code)) || UNREACHABLE.test(code) || SILENT.test(message)
}

/** An `AggregateError` of a driver has no message of its own; its first error has one. */
function faultOf(error: unknown): Fault {
  const [first] = error instanceof AggregateError ? (error.errors as readonly unknown[]) : []
  const given = { ...(first as object), ...(error as object) } as { code?: unknown; kind?: unknown; port?: unknown }
  const [message = ''] = (toError(error).message || toError(first).message).split('\n')
  const code = typeof given.code === 'string' ? given.code : ''
  return { code, kind: given.kind, port: given.port, message }
}

function serverOf(fault: Fault, servers: readonly Server[]): Server {
  const of = (...kinds: Server['kind'][]) => servers.find(({ kind }) => kinds.includes(kind))
  const database = of('PostgreSQL') as Server
  if (OF_BROKER.test(fault.code)) return of('Kafka', 'RabbitMQ') ?? database
  if (OF_STORE.test(fault.code)) return of('Redis') ?? database
  if (fault.code === 'saga.mysql_unanswered' || OF_MYSQL.test(fault.code)) return of('MariaDB or MySQL') ?? database
  const mysql = of('MariaDB or MySQL')
  return mysql !== undefined && String(fault.port) === mysql.port ? mysql : database
}

function serversOf(values: Values, env: Environment): readonly Server[] {
  const server = (kind: Server['kind'], option: string, port: string): readonly Server[] => {
    const variable = `CONCORDAT_${option.toUpperCase()}`
    const given = text(values, option)
    const url = given ?? env[variable]
    if (url === undefined || url === '') return []
    return [{ kind, ...placeOf(url, port), said: given === undefined ? variable : `--${option}` }]
  }
  const postgres = server('PostgreSQL', 'postgres', '5432')
  const { PGHOST = 'localhost', PGPORT = '5432', PGDATABASE = '' } = env
  const bare = {
    kind: 'PostgreSQL' as const,
    address: `${PGHOST}:${PGPORT}${PGDATABASE && `/${PGDATABASE}`}`,
    port: PGPORT,
  }
  return [
    ...(postgres.length > 0 ? postgres : [{ ...bare, said: 'PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE' }]),
    ...server('MariaDB or MySQL', 'mysql', '3306'),
    ...server('Redis', 'redis', '6379'),
    ...server('Kafka', 'kafka', '9092'),
    ...server('RabbitMQ', 'rabbitmq', '5672'),
  ]
}

/** A text that is no URL is a list of brokers, which contains no password. */
function placeOf(url: string, usual: string): Pick<Server, 'address' | 'port'> {
  if (!url.includes('://')) return { address: url, port: usual }
  const { hostname, port, pathname } = new URL(url)
  const place = port === '' ? usual : port
  return { address: `${hostname || 'localhost'}:${place}${pathname === '/' ? '' : pathname}`, port: place }
}
