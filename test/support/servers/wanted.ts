import { parseArgs } from 'node:util'
import { type ClusterPart, clusterParts } from './cluster/parts.ts'
import { isServerKind, type ServerKind, serverKinds } from './kinds.ts'

/** Servers that `npm run servers` is to start, or to show. */
export type Wanted =
  | { readonly kinds: readonly ServerKind[] }
  | { readonly parts: readonly ClusterPart[] }
  | { readonly help: string }

const HELP = `npm run servers [-- ${serverKinds.join(' ')}]   private servers, all of them where none is named
npm run servers -- cluster [--only ${clusterParts.join(',')}]

Once all of them answer, their addresses are printed as lines of a shell: export POSTGRES_URL=... Ctrl-C stops them.
They are of the programs that are installed (Kafka: jars that Maven fetches once), else of Docker; CONCORDAT_SERVERS=docker
leaves out the programs. Tests take an address in the environment first, so these lines serve them too.`

/**
 * @returns a text if the arguments are wrong: the error with the choices, on one line
 */
export function wantedServers(args: readonly string[]): Wanted | string {
  const parsed = parse(args)
  if (typeof parsed === 'string') return parsed
  const { positionals, values } = parsed
  if (values.help) return { help: HELP }
  if (positionals[0] === 'cluster') return wantedParts(positionals.slice(1), values.only)
  if (values.only !== undefined) return '--only belongs to "cluster": npm run servers -- cluster --only kafka'
  const unknown = positionals.find((name) => !isServerKind(name))
  if (unknown !== undefined) {
    return `unknown server "${unknown}": choose from ${serverKinds.join(', ')}, or none for all of them, or cluster`
  }
  return { kinds: positionals.length === 0 ? serverKinds : [...new Set(positionals.filter(isServerKind))] }
}

function wantedParts(more: readonly string[], only: string | undefined): Wanted | string {
  if (more.length > 0) return `"cluster" stands alone, not with "${more.join(' ')}": name parts as --only kafka,redis`
  const names = only?.split(',') ?? clusterParts
  const unknown = names.find((name) => !clusterParts.some((part) => part === name))
  if (unknown !== undefined) return `--only: there is no part "${unknown}", choose from ${clusterParts.join(', ')}`
  return { parts: clusterParts.filter((part) => names.includes(part)) }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: { only: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
      allowPositionals: true,
    })
  } catch (error) {
    return error instanceof Error ? error.message.split('\n', 1).join() : String(error)
  }
}
