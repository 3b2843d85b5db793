/** A private Restate server: one node with its defaults, data in a folder of its own that is deleted with it. */
import { once } from 'node:events'
import { chmodSync, existsSync, mkdtempSync, readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { lastLines, spawnCommand } from '../../test/support/servers/command.ts'
import { freePort } from '../../test/support/servers/ports.ts'
import { endTree } from '../../test/support/servers/process-tree.ts'
import { Watchdog } from '../../test/support/servers/watchdog.ts'
import { PeerUnavailable, peerFile } from '../peers.ts'

export interface RestateServer extends AsyncDisposable {
  readonly pid: number
  readonly admin: string
  readonly ingress: string
}

const ANSWER_WITHIN_MS = 60_000
const GRACE_MS = 5_000

/** @throws PeerUnavailable when there is no binary for this machine, or it does not start */
export async function startRestate(packages: string): Promise<RestateServer> {
  const file = binary(packages)
  const folder = mkdtempSync(join(tmpdir(), 'concordat-restate-'))
  const ports = { node: await freePort(), admin: await freePort(), ingress: await freePort() }
  const watchdog = new Watchdog(folder, 'SIGTERM')
  const logFile = join(folder, 'server.log')
  const env = {
    RESTATE_BIND_PORT: String(ports.node),
    RESTATE_ADMIN__BIND_PORT: String(ports.admin),
    RESTATE_INGRESS__BIND_PORT: String(ports.ingress),
    RESTATE_BIND_IP: '127.0.0.1',
    RESTATE_ADVERTISED_HOST: '127.0.0.1',
    RESTATE_LISTEN_MODE: 'tcp',
    RESTATE_DISABLE_TELEMETRY: 'true',
    DO_NOT_TRACK: '1',
  }
  const child = spawnCommand({ file, args: ['--no-logo', '--base-dir', join(folder, 'data')], env }, folder, logFile)
  child.on('error', () => {})
  const { pid } = child
  if (pid !== undefined) watchdog.guard(pid)
  const [admin, ingress] = [`http://127.0.0.1:${ports.admin}`, `http://127.0.0.1:${ports.ingress}`]
  const stop = async (): Promise<void> => {
    if (pid !== undefined && child.exitCode === null && child.signalCode === null) {
      await Promise.all([once(child, 'exit'), endTree(pid, 'SIGTERM', GRACE_MS)])
    }
    watchdog.forget()
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
    await watchdog.dismiss()
  }
  const ended = (): boolean => pid === undefined || child.exitCode !== null || child.signalCode !== null
  if (!(await answers([`${admin}/health`, `${ingress}/restate/health`], ended)) || pid === undefined) {
    const log = existsSync(logFile) ? lastLines(readFileSync(logFile, 'utf8'), 1) : 'it cannot be started'
    await stop()
    throw new PeerUnavailable(`restate-server gave no answer in ${ANSWER_WITHIN_MS} ms: ${log}`)
  }
  return { pid, admin, ingress, [Symbol.asyncDispose]: stop }
}

function binary(packages: string): string {
  const name = `@restatedev/restate-server-${process.platform}-${process.arch}`
  try {
    const file = peerFile(packages, `${name}/bin/restate-server`)
    chmodSync(file, 0o755)
    return file
  } catch (cause) {
    throw new PeerUnavailable(`npm has no package ${name} for this machine`, { cause })
  }
}

async function answers(urls: readonly string[], ended: () => boolean): Promise<boolean> {
  const deadline = performance.now() + ANSWER_WITHIN_MS
  while (performance.now() < deadline && !ended()) {
    const asked = await Promise.allSettled(urls.map((url) => fetch(url)))
    if (asked.every((answer) => answer.status === 'fulfilled' && answer.value.ok)) return true
    await sleep(100)
  }
  return false
}
