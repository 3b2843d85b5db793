/** The programs of `java/`, compiled, and the jars that they need. */
import { globSync } from 'node:fs'
import { join } from 'node:path'
import { compileJava, fetchJars, javaBinary } from '../support/maven.ts'

export interface Classes {
  readonly java: string
  readonly jars: string
  readonly compiled: string
}

const POM = join(import.meta.dirname, 'pom.xml')
const SOURCES = join(import.meta.dirname, 'java', '*.java')

export async function prepareClasses(): Promise<Classes> {
  const jars = await fetchJars('interop', POM)
  return { java: javaBinary('java'), jars, compiled: await compileJava('interop', jars, globSync(SOURCES)) }
}
