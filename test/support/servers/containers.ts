/**
 * Servers in Docker, for machines without local binaries. testcontainers is loaded only here and only when Docker may
 * answer; its reaper removes the containers if this process dies.
 *
 * Not run yet: the machines on which this was written had no Docker engine. What has been run is the way around it: no
 * socket, or a socket where nobody answers.
 */
import { existsSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type * as testcontainers from 'testcontainers'
import { KAFKA_VERSION } from './kafka-jars.ts'
import type { ServerKind } from './kinds.ts'
import { freePort } from './ports.ts'

export interface ContainerServer {
  readonly url: string
  stop(): Promise<void>
}

type Testcontainers = typeof testcontainers

interface Image {
  /** @param port a free port of this machine, for a server that must know its own address */
  define(library: Testcontainers, port: number): testcontainers.GenericContainer
  url(container: testcontainers.StartedTestContainer, port: number): string
}

const images: Readonly<Record<ServerKind, Image>> = {
  postgres: {
    define: ({ GenericContainer, Wait }) =>
      new GenericContainer('postgres:17-alpine')
        .withEnvironment({ POSTGRES_HOST_AUTH_METHOD: 'trust' })
        .withCommand(['postgres', '-c', 'max_connections=300', '-c', 'max_prepared_transactions=100'])
        .withExposedPorts(5432)
        .withWaitStrategy(Wait.forLogMessage('database system is ready to accept connections', 2)),
    url: (container) => `postgres://postgres@${container.getHost()}:${container.getMappedPort(5432)}/postgres`,
  },
  redis: {
    define: ({ GenericContainer, Wait }) =>
      new GenericContainer('redis:8-alpine')
        .withExposedPorts(6379)
        .withWaitStrategy(Wait.forLogMessage('Ready to accept connections')),
    url: (container) => `redis://${container.getHost()}:${container.getMappedPort(6379)}`,
  },
  rabbitmq: {
    define: ({ GenericContainer, Wait }) =>
      new GenericContainer('rabbitmq:4-alpine')
        .withExposedPorts(5672)
        .withWaitStrategy(Wait.forLogMessage('Server startup complete')),
    url: (container) => `amqp://guest:guest@${container.getHost()}:${container.getMappedPort(5672)}`,
  },
  kafka: {
    define: ({ GenericContainer, Wait }, port) =>
      new GenericContainer(`apache/kafka:${KAFKA_VERSION}`)
        .withEnvironment(kafkaEnvironment(port))
        .withExposedPorts({ container: port, host: port })
        .withWaitStrategy(Wait.forLogMessage('Kafka Server started')),
    url: (container, port) => `${container.getHost()}:${port}`,
  },
  mariadb: {
    define: ({ GenericContainer, Wait }) =>
      new GenericContainer('mariadb:11.8')
        .withEnvironment({ MARIADB_ALLOW_EMPTY_ROOT_PASSWORD: '1', MARIADB_ROOT_HOST: '%', MARIADB_DATABASE: 'test' })
        .withExposedPorts(3306)
        .withWaitStrategy(Wait.forLogMessage('ready for connections', 2)),
    url: (container) => `mysql://root@${container.getHost()}:${container.getMappedPort(3306)}/test`,
  },
}

/** The broker tells its clients to come to `localhost:<port>`, so container and machine use the same port. */
function kafkaEnvironment(port: number): Record<string, string> {
  return {
    KAFKA_NODE_ID: '1',
    KAFKA_PROCESS_ROLES: 'broker,controller',
    KAFKA_LISTENERS: `PLAINTEXT://:${port},CONTROLLER://:9093`,
    KAFKA_ADVERTISED_LISTENERS: `PLAINTEXT://localhost:${port}`,
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

/** Starts this server in Docker; undefined when no Docker engine answers. @throws Error when the container fails */
export async function startContainer(kind: ServerKind): Promise<ContainerServer | undefined> {
  if (!mayHaveDocker()) return undefined
  const library = await import('testcontainers')
  const answers = await library.getContainerRuntimeClient().then(
    () => true,
    () => false,
  )
  if (!answers) return undefined
  const port = await freePort()
  const image = images[kind]
  const container = await image.define(library, port).start()
  return { url: image.url(container, port), stop: async () => void (await container.stop()) }
}

/** Loading testcontainers takes about a second; without a socket of any engine it is not worth trying. */
function mayHaveDocker(): boolean {
  if (process.env['DOCKER_HOST'] !== undefined) return true
  const rootless = [join(homedir(), '.docker/run/docker.sock'), join(homedir(), '.docker/desktop/docker.sock')]
  const runtime = process.env['XDG_RUNTIME_DIR']
  const own = runtime === undefined ? [] : [join(runtime, 'docker.sock')]
  return ['/var/run/docker.sock', ...rootless, ...own].some((path) => existsSync(path))
}
