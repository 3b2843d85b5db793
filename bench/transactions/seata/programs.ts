/** Seata's jars from Maven Central, fetched once, and our client of it, compiled. */
import { globSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { compileJava, fetchJars, javaBinary } from '../../../test/support/maven.ts'
import { PeerUnavailable } from '../../peers.ts'

/** The newest server that Maven Central has a jar of; the client is of the same version. */
export const VERSION = '2.0.0'

/** Command lines of both programs, up to their settings. */
export interface Programs {
  readonly java: string
  readonly server: readonly string[]
  readonly client: readonly string[]
}

const here = (name: string): string => join(import.meta.dirname, name)
/** Heap of each process; compilers and garbage collector are Java's defaults. */
const HEAP = '-Xmx512m'

/** @throws PeerUnavailable without a JDK, without Maven, or when the jars cannot be fetched */
export async function seataPrograms(stack: AsyncDisposableStack): Promise<Programs> {
  try {
    const java = javaBinary('java')
    const jars = {
      server: await fetchJars('seata-server', here('server-pom.xml')),
      client: await fetchJars('seata-client', here('client-pom.xml')),
    }
    const compiled = await compileJava('seata', jars.client, globSync(here('java/*.java')))
    stack.defer(() => rm(compiled, { recursive: true, force: true }))
    const clientPath = [compiled, here('conf'), join(jars.client, '*')].join(delimiter)
    return {
      java,
      server: [HEAP, '-cp', join(jars.server, '*')],
      client: [HEAP, '-cp', clientPath],
    }
  } catch (cause) {
    throw new PeerUnavailable((cause as Error).message.split('\n')[0], { cause })
  }
}
