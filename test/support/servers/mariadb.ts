import { chmodSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { findBinary, unprivilegedAccount } from './binaries.ts'
import { runCommand } from './command.ts'
import { ServerUnavailable } from './kinds.ts'
import { isTest, PING_STEP_MS, type Recipe, type Site } from './recipe.ts'

/**
 * MariaDB: user `root`, database `test`, no password. It refuses to run as root, so root runs it as
 * `mysql` or `nobody`.
 */
export const mariadb: Recipe = {
  kind: 'mariadb',
  stopSignal: 'SIGKILL',
  require: async () => {
    binary('mariadbd')
    binary('mariadb-install-db')
    if (process.getuid?.() === 0 && account() === undefined) {
      throw new ServerUnavailable('mariadb', 'it refuses to run as root and there is no user "mysql" or "nobody"')
    }
  },
  prepare: (site) => {
    mkdirSync(ownTemporary(site))
    chmodSync(ownTemporary(site), 0o777)
    const places = [`--datadir=${dataFolder(site)}`, `--tmpdir=${ownTemporary(site)}`]
    const args = ['--no-defaults', ...places, '--auth-root-authentication-method=normal']
    return runCommand({ file: binary('mariadb-install-db'), args, account: account() }, site.folder)
  },
  command: (site) => ({
    file: binary('mariadbd'),
    args: [
      '--no-defaults',
      `--datadir=${dataFolder(site)}`,
      ...Object.entries(settings(site)).map(([name, value]) => `--${name}=${value}`),
    ],
    account: account(),
  }),
  url: (site) => `mysql://root@127.0.0.1:${site.port}/test`,
  ping,
}

const settings = (site: Site): Readonly<Record<string, string>> => ({
  'bind-address': '127.0.0.1',
  port: String(site.port),
  socket: join(dataFolder(site), 'sock'),
  'pid-file': join(dataFolder(site), 'pid'),
  tmpdir: ownTemporary(site),
  'skip-name-resolve': 'ON',
  'innodb-buffer-pool-size': '32M',
  // The value 2 writes each commit and leaves the time of the sync to the system.
  'innodb-flush-log-at-trx-commit': isTest ? '2' : '1',
  'max-connections': '300',
  'default-time-zone': '+00:00',
  ...site.settings,
})

/** Two servers that share one delete each other's files. */
const ownTemporary = (site: Site): string => join(site.folder, 'tmp')

const dataFolder = (site: Site): string => join(site.folder, 'data')

const account = (): ReturnType<typeof unprivilegedAccount> => unprivilegedAccount('mysql', 'nobody')

function binary(name: string): string {
  const found = findBinary(name, ['/usr/sbin', '/usr/bin', '/usr/local/bin'])
  if (found === undefined) throw new ServerUnavailable('mariadb', `no ${name} in /usr/sbin, /usr/bin or PATH`)
  return found
}

async function ping(url: string): Promise<void> {
  const { createConnection } = await import('mysql2/promise')
  const connection = await createConnection({ uri: url, connectTimeout: PING_STEP_MS })
  try {
    await connection.query('SELECT 1')
  } finally {
    await connection.end()
  }
}
