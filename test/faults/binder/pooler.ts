/** PgBouncer in transaction mode in front of a private PostgreSQL: the Debian package `pgbouncer`. */
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { findBinary, unprivilegedAccount } from '../../support/servers/binaries.ts'
import { spawnCommand } from '../../support/servers/command.ts'
import { freePort } from '../../support/servers/ports.ts'

const BINARY = 'pgbouncer'
const STARTS_WITHIN_MS = 10_000

const find = (): string | undefined => findBinary(BINARY, ['/usr/sbin'])

/** Reason and remedy when this machine has no pgbouncer. */
export function lackOfPooler(): string | undefined {
  return find() === undefined ? 'there is no pgbouncer: apt-get install pgbouncer' : undefined
}

export class Pooler {
  readonly port: number
  readonly #child: ChildProcess
  readonly #folder: string

  private constructor(port: number, child: ChildProcess, folder: string) {
    this.port = port
    this.#child = child
    this.#folder = folder
  }

  /** @throws Error when it is not installed or does not answer */
  static async start(server: number): Promise<Pooler> {
    const file = find()
    if (file === undefined) throw new Error(lackOfPooler())
    const port = await freePort()
    const folder = mkdtempSync(join(tmpdir(), 'concordat-pgbouncer-'))
    chmodSync(folder, 0o755)
    const settings = join(folder, 'pgbouncer.ini')
    writeFileSync(settings, settingsOf(port, server))
    // pgbouncer refuses to run as root.
    const account = unprivilegedAccount('postgres', 'nobody')
    const child = spawnCommand({ file, args: [settings], account }, folder, join(folder, 'log'))
    const pooler = new Pooler(port, child, folder)
    const deadline = performance.now() + STARTS_WITHIN_MS
    while (!(await answers(port))) {
      if (child.exitCode === null && performance.now() < deadline) await sleep(50)
      else {
        await pooler.stop()
        throw new Error(`pgbouncer does not answer on port ${port}`)
      }
    }
    return pooler
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const gone = once(this.#child, 'exit')
      this.#child.kill('SIGKILL')
      await gone
    }
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** Fewer connections than there are clients, so that transactions of several take turns on one. */
function settingsOf(port: number, server: number): string {
  return `[databases]
postgres = host=127.0.0.1 port=${server} dbname=postgres user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
max_client_conn = 500
default_pool_size = 12
server_login_retry = 1
query_wait_timeout = 5
`
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port }, () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
