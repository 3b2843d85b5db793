/** Creates an operator from addresses. */

import { SECOND, silentLogger, systemClock } from 'concordat/core'
import { pgClient } from 'concordat/core/pg'
import { DEFAULT_SCHEMA, missingRights, type Transport, within } from 'concordat/extension'
import { operatorRecords, resolveSecrets } from 'concordat/operator'
import type { OperatedBus } from '../bus-admin.ts'
import { schemasWith } from '../find-table-schemas.ts'
import { createOperator, type Operator } from '../operator.ts'
import { MAX_LETTER_BYTES } from '../stores.ts'
import { UsageError } from './command.ts'
import { installed } from './optional-package.ts'
import { readBrokerNames } from './read-declarations.ts'

export interface Connection {
  readonly operator: Operator
  /** Schemas of the database that have a table. */
  readonly schemasWith: (table: string) => Promise<readonly string[]>
  /** Rights on the schema that the role lacks; `undefined` when it lacks none. */
  readonly missingRights: () => ReturnType<typeof missingRights>
  /** Checks that the audit of operators can take an entry. @throws as `Trail.requireReady` */
  readonly requireTrail: () => Promise<void>
  close(): Promise<void>
}

type Environment = Readonly<Record<string, string | undefined>>

/** Addresses on the command line. */
export interface Addresses {
  readonly postgres: string | undefined
  readonly schema: string | undefined
  readonly kafka: string | undefined
  readonly rabbitmq: string | undefined
  readonly redis: string | undefined
  /** Prefix of Redis keys. */
  readonly prefix: string | undefined
  /** Databases other than PostgreSQL in which XA participants prepare. */
  readonly mysql: string | undefined
  /** Configuration of the bus; its secret comes from the environment. */
  readonly bus?: OperatedBus | undefined
  /** Sets no time limit for statements. */
  readonly isPatient: boolean
  /** A module of the user with other names of groups and queues. @default `concordat.config.ts` here */
  readonly module?: string | undefined
}

const CONNECT_MS = 10 * SECOND
/** Time limit for closing: a silent server must not keep the process running. */
const GOODBYE_MS = 1 * SECOND
/** A query that takes longer waits for a lock, or for a server that hangs. A migration has no time limit. */
const QUERY_MS = 30 * SECOND
const NEEDS =
  'no database: give --postgres URL, or set CONCORDAT_POSTGRES, or PGHOST and what belongs to it, or export addresses from concordat.config.ts here'

/** @throws UsageError without an address, or without a driver */
export async function connect(addresses: Addresses, env: Environment): Promise<Connection> {
  const address = postgresAddress(addresses.postgres, env)
  const transport = await transportOf(addresses, env)
  const redis = await redisOf(addresses, env)
  const mysql = await mysqlOf(addresses, env)
  const { default: pg } = await installed('pg', import('pg'))
  const pool = new pg.Pool({
    ...(address !== undefined && { connectionString: address }),
    application_name: 'concordat',
    connectionTimeoutMillis: CONNECT_MS,
    max: 4,
    ...(!addresses.isPatient && { query_timeout: QUERY_MS }),
  })
  // A command reports failures itself.
  const sql = pgClient(pool, { logger: silentLogger })
  const { schema = DEFAULT_SCHEMA } = addresses
  return {
    operator: createOperator({
      sql,
      logger: silentLogger,
      schema,
      transport,
      ...redis?.stores,
      resources: mysql?.resources,
      bus: { ...addresses.bus, secret: secretIn(env) },
    }),
    schemasWith: (table) => schemasWith(sql, table),
    missingRights: () => missingRights(sql, schema),
    requireTrail: () => operatorRecords('connect', sql, schema).trail.requireReady(),
    close: async () => {
      await redis?.close()
      await mysql?.close()
      await pool.end()
    },
  }
}

/** `undefined`: the driver reads PGHOST, PGUSER, PGPASSWORD and so on by itself. */
function postgresAddress(url: string | undefined, env: Environment): string | undefined {
  const given = addressOf('postgres', url, env, /^postgres(?:ql)?:\/\//, 'postgres://user@host:5432/database')
  if (given !== undefined) return given
  if (['PGHOST', 'PGDATABASE', 'PGUSER', 'PGPORT'].some((name) => env[name] !== undefined)) return undefined
  throw new UsageError(NEEDS)
}

/** Not an option, because other processes can read a command line. @throws RangeError naming the variable, without its value */
function secretIn(env: Environment): string | undefined {
  const secret = env['CONCORDAT_BUS_SECRET'] || undefined
  resolveSecrets('CONCORDAT_BUS_SECRET', secret)
  return secret
}

/** @returns undefined: the log in the database */
async function transportOf(
  { kafka, rabbitmq, module }: Addresses,
  env: Environment,
): Promise<(() => Promise<Transport>) | undefined> {
  // The command line overrides the environment.
  const url = addressOf('rabbitmq', rabbitmq, kafka === undefined ? env : {}, /^amqps?:\/\//, 'amqp://host:5672')
  const brokers = brokersOf(kafka, rabbitmq === undefined ? env : {})
  if (url !== undefined && brokers !== undefined) throw new UsageError('Kafka and RabbitMQ: give the address of one')
  if (url !== undefined) {
    await installed('amqplib', import('amqplib'))
    const { places } = await readBrokerNames(module)
    return async () => {
      const { rabbitTransport } = await import('concordat/binder/rabbitmq')
      return rabbitTransport({ url, places, provision: 'check', maxMessageBytes: MAX_LETTER_BYTES })
    }
  }
  if (brokers === undefined) return undefined
  const { Kafka, logLevel } = await installed('kafkajs', import('kafkajs'))
  const { kafkaTransport } = await import('concordat/binder/kafka')
  const { groupIds } = await readBrokerNames(module)
  const kafkajs = new Kafka({ clientId: 'concordat', brokers: [...brokers], logLevel: logLevel.NOTHING })
  return async () => kafkaTransport({ kafka: kafkajs, groupIds, provision: 'check', maxMessageBytes: MAX_LETTER_BYTES })
}

function brokersOf(given: string | undefined, env: Environment): readonly string[] | undefined {
  const [option, list] = given === undefined ? ['CONCORDAT_KAFKA', env['CONCORDAT_KAFKA']] : ['--kafka', given]
  if (list === undefined || list === '') return undefined
  const brokers = list.split(',').map((broker) => broker.trim())
  if (brokers.every((broker) => /^[^\s/:@]+:\d{1,5}$/.test(broker))) return brokers
  throw new UsageError(`${option}: expected brokers such as kafka-1:9092,kafka-2:9092`)
}

async function redisOf({ redis, prefix }: Addresses, env: Environment) {
  const url = addressOf('redis', redis, env, /^rediss?:\/\//, 'redis://host:6379')
  if (url === undefined) return undefined
  await installed('ioredis', import('ioredis'))
  const { redisLocks } = await import('concordat/redis')
  const { redisStateStore } = await import('concordat/redis')
  const options = { url, prefix, answerMs: CONNECT_MS, logger: silentLogger }
  const stores = { locks: redisLocks({ ...options, owner: 'operator' }), cluster: redisStateStore(options) }
  return { stores, close: () => Promise.all([stores.locks.close(), stores.cluster.close()]) }
}

async function mysqlOf({ mysql }: Addresses, env: Environment) {
  const uri = addressOf('mysql', mysql, env, /^(?:mysql|mariadb):\/\//, 'mysql://user@host:3306/database')
  if (uri === undefined) return undefined
  const { default: driverOf } = await installed('mysql2', import('mysql2/promise'))
  const { mysqlResource } = await installed('@concordat/mysql', import('@concordat/mysql'))
  const options = { connectionLimit: 2, connectTimeout: CONNECT_MS, gracefulEnd: true }
  const pool = driverOf.createPool({ uri: uri.replace(/^mariadb:/, 'mysql:'), ...options })
  const close = (): Promise<void> => within(systemClock, GOODBYE_MS, pool.end(), undefined)
  return { resources: [mysqlResource(pool, { answerMs: CONNECT_MS })], close }
}

/** The value is never repeated: it may contain a password. @throws UsageError */
function addressOf(
  option: string,
  given: string | undefined,
  env: Environment,
  scheme: RegExp,
  example: string,
): string | undefined {
  const name = `CONCORDAT_${option.toUpperCase()}`
  const [said, address] = given === undefined ? [name, env[name]] : [`--${option}`, given]
  if (address === undefined || (given === undefined && address === '')) return undefined
  if (scheme.test(address) && isWhole(address)) return address
  const hint =
    URL.canParse(address) && scheme.test(address) ? ', with % in the user or the password written as %25' : ''
  throw new UsageError(`${said}: expected an address such as ${example}${hint}`)
}

/** Drivers decode user and password when they connect; their errors name neither the address nor the option. */
function isWhole(address: string): boolean {
  try {
    const { username, password, pathname } = new URL(address)
    for (const part of [username, password, pathname]) decodeURIComponent(part)
    return true
  } catch {
    return false
  }
}
