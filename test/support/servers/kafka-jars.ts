import { existsSync } from 'node:fs'
import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { findBinary } from './binaries.ts'
import { runCommand } from './command.ts'
import { ServerUnavailable } from './kinds.ts'

/** Another one for a run on an older broker: `CONCORDAT_KAFKA_VERSION=3.9.1`. @see docs/decisions/0009-kafkajs-corrections.md */
export const KAFKA_VERSION: string = process.env['CONCORDAT_KAFKA_VERSION'] || '4.4.0'

/** Kafka's own POM brings slf4j-api 1.7 without a back end for it, so this one is added: it writes to stderr. */
const SLF4J_SIMPLE_VERSION = '1.7.36'
const DEPENDENCY_PLUGIN = 'org.apache.maven.plugins:maven-dependency-plugin:3.6.1'

/** The folder with Kafka's jars, shared by all checkouts of a user: `$XDG_CACHE_HOME/concordat/kafka-<version>`. */
export function kafkaJarFolder(): string {
  const cache = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache')
  return join(cache, 'concordat', `kafka-${KAFKA_VERSION}`)
}

/** The folder appears by one rename, so an existing folder is complete. */
export function haveKafkaJars(): boolean {
  return existsSync(kafkaJarFolder())
}

let fetching: Promise<void> | undefined

/** Fetches the jars (45 MB) with Maven, once for all brokers of this process. Two processes may do this at the same time: one of them wins. */
export function fetchKafkaJars(): Promise<void> {
  fetching ??= fetchOnce().finally(() => (fetching = undefined))
  return fetching
}

async function fetchOnce(): Promise<void> {
  const maven = findBinary('mvn')
  if (maven === undefined) {
    throw new ServerUnavailable('kafka', `no mvn in PATH to fetch Kafka ${KAFKA_VERSION} (once)`)
  }
  const work = `${kafkaJarFolder()}.${process.pid}.part`
  const jars = join(work, 'jars')
  process.stderr.write(`kafka: fetching Kafka ${KAFKA_VERSION} with Maven, once, into ${kafkaJarFolder()}\n`)
  try {
    await mkdir(jars, { recursive: true })
    await writeFile(join(work, 'pom.xml'), POM)
    const goal = `${DEPENDENCY_PLUGIN}:copy-dependencies`
    const args = ['-B', '-q', goal, '-DincludeScope=runtime', `-DoutputDirectory=${jars}`]
    await runCommand({ file: maven, args }, work)
    await rename(jars, kafkaJarFolder()).catch(ignoreIfThere)
    process.stderr.write(`kafka: fetched\n`)
  } catch (error) {
    throw new ServerUnavailable('kafka', `Maven cannot fetch Kafka ${KAFKA_VERSION} (${firstError(error)})`, {
      cause: error,
    })
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

function firstError(failure: unknown): string {
  const lines = String(failure).split('\n')
  return (lines.find((line) => line.includes('ERROR')) ?? lines[0] ?? '').slice(0, 300)
}

function ignoreIfThere(error: unknown): void {
  if (!haveKafkaJars()) throw error
}

const POM = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>concordat</groupId>
  <artifactId>kafka-jars</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>${KAFKA_VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-simple</artifactId>
      <version>${SLF4J_SIMPLE_VERSION}</version>
    </dependency>
  </dependencies>
</project>
`
