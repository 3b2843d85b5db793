/** The jars that the programs of `java/` need, fetched once with Maven into the cache, and the programs, compiled. */
import { createHash } from 'node:crypto'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { cp, mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { findBinary } from '../support/servers/binaries.ts'
import { runCommand } from '../support/servers/command.ts'

export interface Classes {
  readonly java: string
  readonly jars: string
  readonly compiled: string
}

const POM = join(import.meta.dirname, 'pom.xml')
const SOURCES = join(import.meta.dirname, 'java', '*.java')
const GOAL = 'org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies'

export async function prepareClasses(): Promise<Classes> {
  const jars = await fetchJars()
  const compiled = await mkdtemp(join(tmpdir(), 'concordat-interop-'))
  const sources = globSync(SOURCES)
  const args = ['-parameters', '-cp', join(jars, '*'), '-d', compiled, ...sources]
  await runCommand({ file: binary('javac'), args }, compiled)
  return { java: binary('java'), jars, compiled }
}

async function fetchJars(): Promise<string> {
  const version = createHash('sha256').update(readFileSync(POM)).digest('hex').slice(0, 12)
  const cache = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache')
  const folder = join(cache, 'concordat', `interop-${version}`)
  if (existsSync(folder)) return folder
  const work = `${folder}.${process.pid}.part`
  process.stderr.write(`interop: fetching Spring Boot and the CloudEvents SDK with Maven, once, into ${folder}\n`)
  try {
    await mkdir(work, { recursive: true })
    await cp(POM, join(work, 'pom.xml'))
    const args = ['-B', '-q', GOAL, '-DincludeScope=runtime', `-DoutputDirectory=${join(work, 'jars')}`]
    await runCommand({ file: binary('mvn'), args }, work)
    await rename(join(work, 'jars'), folder)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
  return folder
}

function binary(name: string): string {
  const home = process.env['JAVA_HOME']
  const found = (home && findBinary(name, [join(home, 'bin')])) || findBinary(name)
  if (found === undefined)
    throw new Error(`no ${name} in PATH or JAVA_HOME: interop needs a JDK of version 17 or newer, and Maven`)
  return found
}
