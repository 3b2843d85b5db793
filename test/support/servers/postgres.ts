import { join } from 'node:path'
import { findBinary, unprivilegedAccount, versionedFolders } from './binaries.ts'
import { runCommand } from './command.ts'
import { ServerUnavailable } from './kinds.ts'
import { isTest, PING_STEP_MS, type Recipe, type Site } from './recipe.ts'

/**
 * PostgreSQL: user `postgres`, database `postgres`, no password. It refuses to run as root, so root runs it as `postgres` or
 * `nobody`. Binaries: those in the folder `PG_BIN`, else the newest in `/usr/lib/postgresql`, else PATH.
 */
export const postgres: Recipe = {
  kind: 'postgres',
  stopSignal: 'SIGQUIT',
  require: async () => {
    binary('initdb')
    binary('postgres')
    if (process.getuid?.() === 0 && account() === undefined) {
      throw new ServerUnavailable('postgres', 'it refuses to run as root and there is no user "postgres" or "nobody"')
    }
  },
  prepare: (site) => {
    const args = ['-D', dataFolder(site), '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--no-locale', '--no-sync']
    return runCommand({ file: binary('initdb'), args, account: account() }, site.folder)
  },
  command: (site) => ({
    file: binary('postgres'),
    args: ['-D', dataFolder(site), ...Object.entries(settings(site)).map(([name, value]) => `--${name}=${value}`)],
    account: account(),
  }),
  url: (site) => `postgres://postgres@127.0.0.1:${site.port}/postgres`,
  ping,
}

const settings = (site: Site): Readonly<Record<string, string>> => ({
  listen_addresses: '127.0.0.1',
  port: String(site.port),
  unix_socket_directories: '',
  max_connections: '300',
  max_prepared_transactions: '100',
  // In the data folder rather than in /dev/shm, where a killed server would leave its segments behind.
  dynamic_shared_memory_type: 'mmap',
  timezone: 'UTC',
  // Tests kill servers, never the machine, so data that a server has written survives. Elsewhere, a commit costs as much as for
  // users.
  fsync: isTest ? 'off' : 'on',
  ...site.settings,
})

export const dataFolder = (site: Site): string => join(site.folder, 'data')

export const account = (): ReturnType<typeof unprivilegedAccount> => unprivilegedAccount('postgres', 'nobody')

export function binary(name: string): string {
  const own = process.env['PG_BIN']
  const installed = versionedFolders('/usr/lib/postgresql', 'bin')
  const found = findBinary(name, own === undefined ? installed : [own, ...installed])
  if (found === undefined) throw new ServerUnavailable('postgres', `no ${name} in /usr/lib/postgresql or PATH`)
  return found
}

async function ping(url: string): Promise<void> {
  const { default: pg } = await import('pg')
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: PING_STEP_MS,
    query_timeout: PING_STEP_MS,
  })
  client.on('error', () => {})
  try {
    await client.connect()
    await client.query('SELECT 1')
  } finally {
    await client.end()
  }
}
