/** Java programs against the Java client that comes with Kafka's jars: one source file each, run without a build. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { findBinary } from './servers/binaries.ts'
import { fetchKafkaJars, haveKafkaJars, kafkaJarFolder } from './servers/kafka-jars.ts'

const SOURCES = join(import.meta.dirname, 'java')
/** A JVM of the smallest size that the client runs in; the machine has to hold a broker as well. */
const MEMORY = ['-Xmx192m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1']
const QUIET = ['-Dorg.slf4j.simpleLogger.defaultLogLevel=error']

/** Starts `java/<name>.java`. The caller ends it. */
export async function startJava(name: string, args: readonly string[]): Promise<ChildProcessWithoutNullStreams> {
  if (!haveKafkaJars()) await fetchKafkaJars()
  const home = process.env['JAVA_HOME']
  const java = (home && findBinary('java', [join(home, 'bin')])) || findBinary('java')
  if (java === undefined) throw new Error('no java in PATH or JAVA_HOME (version 17 or newer)')
  const classPath = join(kafkaJarFolder(), '*')
  return spawn(java, [...MEMORY, ...QUIET, '-cp', classPath, join(SOURCES, `${name}.java`), ...args])
}

/** Runs it to its end. @returns the lines of its output @throws when it fails, with its output */
export async function runJava(name: string, args: readonly string[]): Promise<readonly string[]> {
  const child = await startJava(name, args)
  let out = ''
  let said = ''
  child.stdout.on('data', (bytes: Buffer) => {
    out += bytes.toString()
  })
  child.stderr.on('data', (bytes: Buffer) => {
    said += bytes.toString()
  })
  child.stdin.end()
  const [code] = (await once(child, 'close')) as [number | null]
  if (code !== 0) throw new Error(`${name}.java ended with ${code}: ${said.slice(-2_000)}`)
  return out.split('\n').filter((line) => line !== '')
}
