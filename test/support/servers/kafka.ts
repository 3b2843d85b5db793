import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { findBinary } from './binaries.ts'
import { runCommand } from './command.ts'
import { fetchKafkaJars, haveKafkaJars, kafkaJarFolder } from './kafka-jars.ts'
import { ServerUnavailable } from './kinds.ts'
import { type Command, PING_STEP_MS, type Recipe, type Site } from './recipe.ts'

/** Kafka in KRaft mode: broker and controller in one process, run from its jars by the Java that is installed. */
export const kafka: Recipe = kafkaRecipe(() => newClusterId(), 384)

/** A letter first: an id that began with "-" would be taken for an option, once in 64 starts. */
export function newClusterId(): string {
  return `c${randomBytes(16).toString('base64url').slice(1)}`
}

/** @param heapMiB how much a broker may have at most */
export function kafkaRecipe(clusterId: () => string, heapMiB: number): Recipe {
  return {
    kind: 'kafka',
    stopSignal: 'SIGKILL',
    require: async () => {
      javaBinary()
      if (!haveKafkaJars()) await fetchKafkaJars()
    },
    prepare: async (site) => {
      const lines = Object.entries(settings(site)).map(([name, value]) => `${name}=${value}`)
      await writeFile(propertiesFile(site), `${lines.join('\n')}\n`)
      const format = ['format', '-t', clusterId(), '-c', propertiesFile(site), ...addUsers(site)]
      await runCommand(java('kafka.tools.StorageTool', format, heapMiB), site.folder)
    },
    command: (site) => java('kafka.Kafka', [propertiesFile(site)], heapMiB),
    url: (site) => `127.0.0.1:${site.port}`,
    ping,
  }
}

/** A node that starts and answers fast: every internal topic has one partition and one replica. */
const settings = (site: Site): Readonly<Record<string, string>> => ({
  'process.roles': 'broker,controller',
  'node.id': '1',
  listeners: `PLAINTEXT://127.0.0.1:${site.port},CONTROLLER://127.0.0.1:${site.innerPort}`,
  'advertised.listeners': `PLAINTEXT://127.0.0.1:${site.port}`,
  'controller.listener.names': 'CONTROLLER',
  'controller.quorum.voters': `1@127.0.0.1:${site.innerPort}`,
  'log.dirs': join(site.folder, 'data'),
  'auto.create.topics.enable': 'false',
  'offsets.topic.num.partitions': '1',
  'offsets.topic.replication.factor': '1',
  'transaction.state.log.num.partitions': '1',
  'transaction.state.log.replication.factor': '1',
  'transaction.state.log.min.isr': '1',
  'share.coordinator.state.topic.replication.factor': '1',
  'share.coordinator.state.topic.min.isr': '1',
  'group.initial.rebalance.delay.ms': '0',
  // A killed broker may restart only after the end of its former session: 9 s by default.
  'broker.session.timeout.ms': '3000',
  'broker.heartbeat.interval.ms': '300',
  // Lets a test use a short session, so that a killed consumer's partitions move on soon.
  'group.min.session.timeout.ms': '500',
  // 128 MB of heap by default, more than a third of what this broker has.
  'log.cleaner.dedupe.buffer.size': String(4 * 1024 * 1024),
  ...site.settings,
})

/** Brokers log in to each other, so rights that are denied to clients, which are anonymous, are not denied to them. */
const LOGIN =
  'org.apache.kafka.common.security.plain.PlainLoginModule required username="broker" password="broker" user_broker="broker";'

/** Rights are looked at: everybody has all of what no rule is for. Of listeners `BETWEEN`, if there is one, and `CONTROLLER`. */
export const AUTHORIZED = {
  'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:SASL_PLAINTEXT',
  'sasl.enabled.mechanisms': 'PLAIN',
  'sasl.mechanism.inter.broker.protocol': 'PLAIN',
  'sasl.mechanism.controller.protocol': 'PLAIN',
  'listener.name.between.plain.sasl.jaas.config': LOGIN,
  'listener.name.controller.plain.sasl.jaas.config': LOGIN,
  'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
  'super.users': 'User:broker',
  'allow.everyone.if.no.acl.found': 'true',
} as const

function addUsers({ users }: Site): string[] {
  return Object.entries(users).flatMap(([name, password]) =>
    ['SCRAM-SHA-256', 'SCRAM-SHA-512'].flatMap((mechanism) => [
      '--add-scram',
      `${mechanism}=[name=${name},password=${password}]`,
    ]),
  )
}

const propertiesFile = (site: Site): string => join(site.folder, 'server.properties')

function java(mainClass: string, args: readonly string[], heapMiB: number): Command {
  const memory = ['-Xms128m', `-Xmx${heapMiB}m`, '-XX:+UseSerialGC']
  // The server lives too briefly to profit from the second compiler.
  const quick = ['-XX:TieredStopAtLevel=1', '-XX:-UsePerfData']
  const logging = ['-Dorg.slf4j.simpleLogger.defaultLogLevel=warn', '-Dorg.slf4j.simpleLogger.showDateTime=true']
  return {
    file: javaBinary(),
    args: [...memory, ...quick, ...logging, '-cp', join(kafkaJarFolder(), '*'), mainClass, ...args],
  }
}

function javaBinary(): string {
  const home = process.env['JAVA_HOME']
  const found = (home && findBinary('java', [join(home, 'bin')])) || findBinary('java')
  if (found === undefined) throw new ServerUnavailable('kafka', 'no java in PATH or JAVA_HOME (version 17 or newer)')
  return found
}

async function ping(url: string): Promise<void> {
  const { Kafka, logLevel } = await import('kafkajs')
  const client = new Kafka({
    brokers: url.split(','),
    logLevel: logLevel.NOTHING,
    connectionTimeout: PING_STEP_MS,
    requestTimeout: PING_STEP_MS,
    retry: { retries: 0 },
  })
  const admin = client.admin()
  try {
    await admin.connect()
    const { brokers } = await admin.describeCluster()
    if (brokers.length === 0) throw new Error('the broker has not joined its cluster yet')
  } finally {
    await admin.disconnect()
  }
}
