/** Jars for programs in Java: fetched once with Maven into the cache, and the programs, compiled. */
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { cp, mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { findBinary } from './servers/binaries.ts'
import { runCommand } from './servers/command.ts'

const GOAL = 'org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies'

/**
 * The folder with all jars that a `pom.xml` names.
 * @param name of the folder, and of who says that it fetches them
 * @throws when there is no Maven, or when it fails
 */
export async function fetchJars(name: string, pom: string): Promise<string> {
  const version = createHash('sha256').update(readFileSync(pom)).digest('hex').slice(0, 12)
  const cache = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache')
  const folder = join(cache, 'concordat', `${name}-${version}`)
  if (existsSync(folder)) return folder
  const work = `${folder}.${process.pid}.part`
  process.stderr.write(`${name}: fetching jars with Maven, once, into ${folder}\n`)
  try {
    await mkdir(work, { recursive: true })
    await cp(pom, join(work, 'pom.xml'))
    const args = ['-B', '-q', GOAL, '-DincludeScope=runtime', `-DoutputDirectory=${join(work, 'jars')}`]
    await runCommand({ file: javaBinary('mvn'), args }, work)
    await rename(join(work, 'jars'), folder).catch((error: unknown) => {
      // Another process was faster.
      if (!existsSync(folder)) throw error
    })
  } finally {
    await rm(work, { recursive: true, force: true })
  }
  return folder
}

/** @returns a new folder with the classes: remove it when you are done */
export async function compileJava(name: string, jars: string, sources: readonly string[]): Promise<string> {
  const compiled = await mkdtemp(join(tmpdir(), `concordat-${name}-`))
  const args = ['-parameters', '-cp', join(jars, '*'), '-d', compiled, ...sources]
  await runCommand({ file: javaBinary('javac'), args }, compiled)
  return compiled
}

/** @throws when it is neither in JAVA_HOME nor in PATH */
export function javaBinary(name: string): string {
  const home = process.env['JAVA_HOME']
  const found = (home && findBinary(name, [join(home, 'bin')])) || findBinary(name)
  if (found === undefined)
    throw new Error(`no ${name} in PATH or JAVA_HOME: install a JDK of version 17 or newer, and Maven`)
  return found
}
