/** A private Seata server: a registry and settings of files, a folder of its own that is deleted with it. */
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { lastLines, spawnCommand } from '../../../test/support/servers/command.ts'
import { freePort } from '../../../test/support/servers/ports.ts'
import { endTree } from '../../../test/support/servers/process-tree.ts'
import { Watchdog } from '../../../test/support/servers/watchdog.ts'
import { PeerUnavailable } from '../../peers.ts'
import type { Programs } from './programs.ts'
import type { Store } from './store.ts'

export interface SeataServer extends AsyncDisposable {
  readonly pid: number
  readonly address: string
}

const LISTENS_WITHIN_MS = 180_000
const GRACE_MS = 5_000

/** @throws PeerUnavailable when it does not start */
export async function startSeata({ java, server }: Programs, store: Store): Promise<SeataServer> {
  const folder = mkdtempSync(join(tmpdir(), 'concordat-seata-'))
  const ports = { service: await freePort(), console: await freePort() }
  const settings = {
    'server.address': '127.0.0.1',
    'server.port': ports.console,
    'seata.server.service-port': ports.service,
    'seata.store.file.dir': join(folder, 'sessions'),
    'logging.file.path': join(folder, 'logs'),
    'logging.level.root': 'warn',
    ...store.settings,
  }
  const flags = Object.entries(settings).map(([name, value]) => `-D${name}=${value}`)
  const watchdog = new Watchdog(folder, 'SIGTERM')
  const logFile = join(folder, 'server.log')
  const args = [...flags, ...server, 'io.seata.server.ServerApplication']
  const child = spawnCommand({ file: java, args, env: store.env }, folder, logFile)
  child.on('error', () => {})
  const { pid } = child
  if (pid !== undefined) watchdog.guard(pid)
  const ended = (): boolean => pid === undefined || child.exitCode !== null || child.signalCode !== null
  const stop = async (): Promise<void> => {
    if (pid !== undefined && !ended()) await Promise.all([once(child, 'exit'), endTree(pid, 'SIGTERM', GRACE_MS)])
    watchdog.forget()
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
    await watchdog.dismiss()
  }
  if (!(await listens(ports.service, ended)) || pid === undefined) {
    const what = ended() ? 'ended at its start' : `did not listen within ${LISTENS_WITHIN_MS} ms`
    const why = reasonIn(logFile)
    await stop()
    throw new PeerUnavailable(`its server ${what}: ${why}`)
  }
  return { pid, address: `127.0.0.1:${ports.service}`, [Symbol.asyncDispose]: stop }
}

/** Finds the last line that names an exception; Spring Boot's later lines explain it without naming it. */
function reasonIn(logFile: string): string {
  const log = existsSync(logFile) ? readFileSync(logFile, 'utf8') : ''
  const line = log.split('\n').findLast((text) => /(Exception|Error)\b/.test(text)) ?? lastLines(log, 1)
  return line.trim() || 'it said nothing'
}

async function listens(port: number, ended: () => boolean): Promise<boolean> {
  const deadline = performance.now() + LISTENS_WITHIN_MS
  while (performance.now() < deadline && !ended()) {
    if (await connects(port)) return true
    await sleep(200)
  }
  return false
}

function connects(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    const settle = (connected: boolean): void => {
      socket.destroy()
      resolve(connected)
    }
    socket.once('connect', () => settle(true))
    socket.once('error', () => settle(false))
  })
}
