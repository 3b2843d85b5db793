/** The servers that tests, benchmarks and `npm run servers` know. */
export type ServerKind = 'postgres' | 'redis' | 'rabbitmq' | 'kafka' | 'mariadb'

export const serverKinds: readonly ServerKind[] = ['postgres', 'redis', 'rabbitmq', 'kafka', 'mariadb']

export function isServerKind(name: string): name is ServerKind {
  return serverKinds.some((kind) => kind === name)
}

/** The environment variable that gives the address of a server which is already running. */
export const addressVariable: Readonly<Record<ServerKind, string>> = {
  postgres: 'POSTGRES_URL',
  redis: 'REDIS_URL',
  rabbitmq: 'RABBITMQ_URL',
  kafka: 'KAFKA_BROKERS',
  mariadb: 'MARIADB_URL',
}

/** The address of a running server from the environment; undefined when it gives none. */
export function addressInEnvironment(kind: ServerKind): string | undefined {
  return process.env[addressVariable[kind]] || undefined
}

/** The Debian packages that a local server of each kind needs. */
const packages: Readonly<Record<ServerKind, string>> = {
  postgres: 'postgresql',
  redis: 'redis-server',
  rabbitmq: 'rabbitmq-server',
  kafka: 'default-jre-headless maven',
  mariadb: 'mariadb-server',
}

/** What `ServerUnavailable` says beside its reason. */
export interface UnavailableOptions extends ErrorOptions {
  /** Remedy, shown before the other ways to get such a server. @default install it, or start Docker */
  readonly remedy?: string | undefined
  /** Lines below the message. */
  readonly log?: string | undefined
}

/** A server that this machine cannot give. The first line of the message names what is missing and how to get it. */
export class ServerUnavailable extends Error {
  readonly kind: ServerKind

  constructor(kind: ServerKind, reason: string, { remedy, log, ...options }: UnavailableOptions = {}) {
    const install = `install it (Debian: apt-get install ${packages[kind]})`
    const ways = remedy === undefined ? `${install}, start Docker` : `${remedy}, ${install}`
    const line = `${kind}: ${reason}; ${ways}, or set ${addressVariable[kind]}`
    super(log === undefined ? line : `${line}\n${log}`, options)
    this.name = 'ServerUnavailable'
    this.kind = kind
  }
}
