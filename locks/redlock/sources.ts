import { invalidOption, requireText } from '../../core/errors.ts'
import { wrongKind } from '../../core/option-checks.ts'
import { clientSource, isCluster, type RedisClient } from '../../core/redis/client.ts'
import type { NodeSource } from './node.ts'

export interface RedlockSources {
  readonly urls?: readonly string[] | undefined
  readonly clients?: readonly RedisClient[] | undefined
}

const MIN_SERVERS = 3

/**
 * The servers of a quorum, in a number that gives a majority in every vote.
 * @throws TypeError / RangeError for an even number or fewer than three, a repeated server, a cluster
 */
export function quorumSources({ urls, clients }: RedlockSources): readonly NodeSource[] {
  if ((urls === undefined) === (clients === undefined)) {
    throw new TypeError('redlockLocks: expected either clients (ioredis instances) or urls, one for each server')
  }
  const [path, list] = urls === undefined ? ['redlockLocks.clients', clients] : ['redlockLocks.urls', urls]
  if (!Array.isArray(list)) throw wrongKind(path, list, 'a list with an entry for each server')
  requireOdd(path, list.length)
  const sources = list.map((entry: unknown, index) => source(`${path}[${index}]`, entry, urls !== undefined))
  const seen = new Map<string, number>()
  for (const [index, { name }] of sources.entries()) {
    const twin = seen.get(name)
    if (twin !== undefined || list.indexOf(list[index]) !== index) {
      const expected = 'each server once: one that is named twice would have two votes, and be two failures in one'
      throw invalidOption(`${path}[${index}]`, `${name} (as [${twin ?? list.indexOf(list[index])}])`, expected)
    }
    seen.set(name, index)
  }
  return sources
}

function requireOdd(path: string, count: number): void {
  if (count >= MIN_SERVERS && count % 2 === 1) return
  const expected =
    'an odd number of independent servers, 3 or more (of an even number one is of no use, add or leave one)'
  throw invalidOption(`${path}.length`, count, count === 1 ? `${expected}; for one server use redisLocks` : expected)
}

function source(path: string, entry: unknown, isUrl: boolean): NodeSource {
  if (isUrl) {
    const url = requireText(path, entry)
    return { client: clientSource(path, { url }), name: address(url) }
  }
  const client = entry as RedisClient
  const open = clientSource(path, { client })
  if (isCluster(client)) throw wrongKind(path, client, 'a client of one server: a cluster is one part of no quorum')
  return { client: open, name: nameOf(client) ?? path }
}

/** Host and port, to recognize two addresses of one server; no password. */
function address(url: string): string {
  const { hostname, port } = new URL(url)
  return `${hostname.toLowerCase() || 'localhost'}:${port || 6379}`
}

/** The address of an ioredis client, if it reveals it. */
function nameOf(client: object): string | undefined {
  const options = (client as { readonly options?: Readonly<Record<string, unknown>> }).options
  const { host, port, path, sentinels } = options ?? {}
  if (Array.isArray(sentinels)) return undefined
  if (typeof path === 'string') return path
  return typeof host === 'string' && typeof port === 'number' ? `${host.toLowerCase()}:${port}` : undefined
}
