/** The image of each kind of server, and the settings of its container. */
import { isIP } from 'node:net'
import type { ServerKind } from './kinds.ts'

/** How clients reach the ports of an engine's containers. */
export interface EngineHost {
  /** In addresses: `127.0.0.1`, the gateway of a job that runs in a container beside the engine, another machine. */
  readonly name: string
  /** The address of the engine's machine that ports are published on: no wider than these clients need. */
  readonly publishedOn: string
}

export interface Image {
  readonly name: string
  /** Inside of the container. */
  readonly port: number
  /** The port is the same inside and outside: the server tells its clients its own address. */
  readonly knowsItsAddress?: boolean
  readonly command?: readonly string[]
  readonly environment?: (host: EngineHost, port: number) => Readonly<Record<string, string>>
  /** A line of the log, and how often it comes until the server answers. */
  readonly ready: { readonly line: string; readonly times: number }
  url(host: string, port: number): string
}

/** @param host what testcontainers found: of `DOCKER_HOST`, of the gateway, or `localhost` */
export function engineHost(host: string): EngineHost {
  if (host === 'localhost' || host === '::1' || host.startsWith('127.')) {
    return { name: '127.0.0.1', publishedOn: '127.0.0.1' }
  }
  // The address of a name on another machine is not known here.
  return { name: host, publishedOn: isIP(host) === 0 ? '0.0.0.0' : host }
}

export const images: Readonly<Record<ServerKind, Image>> = {
  postgres: {
    name: 'postgres:17-alpine',
    port: 5432,
    command: ['postgres', '-c', 'max_connections=300', '-c', 'max_prepared_transactions=100'],
    environment: () => ({ POSTGRES_HOST_AUTH_METHOD: 'trust' }),
    ready: { line: 'database system is ready to accept connections', times: 2 },
    url: (host, port) => `postgres://postgres@${host}:${port}/postgres`,
  },
  redis: {
    name: 'redis:8-alpine',
    port: 6379,
    ready: { line: 'Ready to accept connections', times: 1 },
    url: (host, port) => `redis://${host}:${port}`,
  },
  rabbitmq: {
    name: 'rabbitmq:4-alpine',
    port: 5672,
    ready: { line: 'Server startup complete', times: 1 },
    url: (host, port) => `amqp://guest:guest@${host}:${port}`,
  },
  kafka: {
    // Older than the jars of the tests: a tag is raised after a run on an engine.
    name: 'apache/kafka:4.2.0',
    port: 9092,
    knowsItsAddress: true,
    environment: kafkaEnvironment,
    ready: { line: 'Kafka Server started', times: 1 },
    url: (host, port) => `${host}:${port}`,
  },
  mariadb: {
    name: 'mariadb:11.8',
    port: 3306,
    environment: () => ({ MARIADB_ALLOW_EMPTY_ROOT_PASSWORD: '1', MARIADB_ROOT_HOST: '%', MARIADB_DATABASE: 'test' }),
    ready: { line: 'ready for connections', times: 2 },
    url: (host, port) => `mysql://root@${host}:${port}/test`,
  },
}

/** The broker advertises this address to its clients, so they must be able to reach it. */
function kafkaEnvironment({ name }: EngineHost, port: number): Readonly<Record<string, string>> {
  return {
    KAFKA_NODE_ID: '1',
    KAFKA_PROCESS_ROLES: 'broker,controller',
    KAFKA_LISTENERS: `PLAINTEXT://:${port},CONTROLLER://:9093`,
    KAFKA_ADVERTISED_LISTENERS: `PLAINTEXT://${name}:${port}`,
    KAFKA_LISTENER_SECURITY_PROTOCOL_MAP: 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
    KAFKA_CONTROLLER_LISTENER_NAMES: 'CONTROLLER',
    KAFKA_CONTROLLER_QUORUM_VOTERS: '1@localhost:9093',
    KAFKA_AUTO_CREATE_TOPICS_ENABLE: 'false',
    KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR: '1',
    KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR: '1',
    KAFKA_TRANSACTION_STATE_LOG_MIN_ISR: '1',
    KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS: '0',
    KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS: '500',
  }
}
