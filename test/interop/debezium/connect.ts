/** Kafka Connect as a process of its own, with the connector that docs/messages/exactly-once.md configures. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fetchJars, javaBinary } from '../../support/maven.ts'
import { freePort } from '../../support/servers/ports.ts'

const PAGE = join(import.meta.dirname, '../../../docs/messages/exactly-once.md')
/** Flush interval so long that a killed worker has flushed nothing: it reads everything again. */
const FLUSH_MS = 600_000

export interface Connect {
  start(): Promise<void>
  /** Kills the worker like `kill -9`. */
  kill(): Promise<void>
  /** End of its output. */
  log(): string
  /** Kills it and removes its files. */
  stop(): Promise<void>
}

/** @param schema of the outbox, whose name the connector, its slot and its publication get */
export async function prepareConnect(kafka: string, postgres: URL, schema: string): Promise<Connect> {
  const jars = await fetchJars('interop-debezium', join(import.meta.dirname, 'pom.xml'))
  const folder = await mkdtemp(join(tmpdir(), 'concordat-connect-'))
  const files = await writeFiles(folder, { kafka, postgres, schema })
  let child: ChildProcess | undefined
  let said = ''
  const kill = async (): Promise<void> => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'close')
    child.kill('SIGKILL')
    await ended
  }
  return {
    start: async () => {
      const memory = ['-Xmx300m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1']
      const main = 'org.apache.kafka.connect.cli.ConnectStandalone'
      const quiet = '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn'
      child = spawn(javaBinary('java'), [...memory, quiet, '-cp', join(jars, '*'), main, ...files], { cwd: folder })
      const hear = (bytes: Buffer): void => {
        said = (said + bytes.toString()).slice(-8_000)
      }
      child.stdout?.on('data', hear)
      child.stderr?.on('data', hear)
      await once(child, 'spawn')
    },
    kill,
    log: () => said,
    stop: async () => {
      await kill()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

interface Addresses {
  readonly kafka: string
  readonly postgres: URL
  readonly schema: string
}

async function writeFiles(folder: string, { kafka, postgres, schema }: Addresses): Promise<readonly string[]> {
  const worker = join(folder, 'worker.properties')
  const connector = join(folder, 'connector.properties')
  await mkdir(join(folder, 'plugins'))
  await writeFile(
    worker,
    lines({
      'bootstrap.servers': kafka,
      'key.converter': 'org.apache.kafka.connect.storage.StringConverter',
      'value.converter': 'org.apache.kafka.connect.storage.StringConverter',
      'offset.storage.file.filename': join(folder, 'offsets'),
      'offset.flush.interval.ms': String(FLUSH_MS),
      listeners: `http://127.0.0.1:${await freePort()}`,
      'plugin.path': join(folder, 'plugins'),
      'plugin.discovery': 'hybrid_warn',
    }),
  )
  const documented = await configurationOfThePage()
  const own = lines({
    name: schema,
    'database.hostname': postgres.hostname,
    'database.port': postgres.port,
    'database.user': postgres.username,
    'database.password': 'none',
    'database.dbname': postgres.pathname.slice(1),
    'plugin.name': 'pgoutput',
    'topic.prefix': schema,
    'slot.name': schema,
    'publication.name': schema,
    'publication.autocreate.mode': 'filtered',
  })
  await writeFile(connector, `${own}${documented.replace('concordat.outbox', `${schema}.outbox`)}`)
  return [worker, connector]
}

/** The configuration that the page gives its users, verbatim. */
async function configurationOfThePage(): Promise<string> {
  const page = await readFile(PAGE, 'utf8')
  const found = /```properties\n(?<text>connector\.class=io\.debezium[^`]*)```/.exec(page)?.groups?.['text']
  if (found === undefined) throw new Error('docs/messages/exactly-once.md: there is no configuration of Debezium')
  return found
}

const lines = (settings: Readonly<Record<string, string>>): string =>
  Object.entries(settings)
    .map(([name, value]) => `${name}=${value}\n`)
    .join('')
