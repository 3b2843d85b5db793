import { findBinary } from './binaries.ts'
import { ServerUnavailable } from './kinds.ts'
import { PING_STEP_MS, type Recipe, type Site } from './recipe.ts'

/**
 * Redis (or Valkey). It keeps nothing across a kill unless the settings say so:
 * `{ appendonly: 'yes', appendfsync: 'always' }`.
 */
export const redis: Recipe = {
  kind: 'redis',
  stopSignal: 'SIGKILL',
  require: async () => {
    binary()
  },
  prepare: async () => {},
  command: (site) => ({
    file: binary(),
    args: Object.entries(settings(site)).flatMap(([name, value]) => [`--${name}`, value]),
  }),
  url: (site) => `redis://127.0.0.1:${site.port}`,
  ping,
}

const settings = (site: Site): Readonly<Record<string, string>> => ({
  bind: '127.0.0.1',
  port: String(site.port),
  dir: site.folder,
  save: '',
  appendonly: 'no',
  ...(site.settings['cluster-enabled'] === 'yes' && { 'cluster-port': String(site.innerPort) }),
  ...site.settings,
})

function binary(): string {
  const wanted = process.env['REDIS_SERVER'] || undefined
  const names = wanted === undefined ? ['redis-server', 'valkey-server'] : [wanted]
  const found = names.map((name) => findBinary(name)).find((file) => file !== undefined)
  if (found === undefined) throw new ServerUnavailable('redis', `no ${names.join(' or ')} in PATH`)
  return found
}

async function ping(url: string): Promise<void> {
  const { Redis } = await import('ioredis')
  const client = new Redis(url, {
    lazyConnect: true,
    connectTimeout: PING_STEP_MS,
    commandTimeout: PING_STEP_MS,
    retryStrategy: () => null,
  })
  client.on('error', () => {})
  try {
    await client.connect()
    await client.ping()
  } finally {
    client.disconnect()
  }
}
