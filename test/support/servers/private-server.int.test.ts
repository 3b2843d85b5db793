import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, onTestFinished, test, vi } from 'vitest'
import { isNight } from '../suite/night.ts'
import { type Check, checks } from './checks.ts'
import { describeWith, KEPT_LOGS, type PrivateServer, startServer } from './index.ts'
import { freePorts } from './private-server.ts'

/** All private servers of this file put their folders here, so that the test sees what they leave behind. */
let temporary: string

beforeAll(() => {
  temporary = mkdtempSync(join(tmpdir(), 'concordat-test-'))
  chmodSync(temporary, 0o755)
  vi.stubEnv('TMPDIR', temporary)
})
afterAll(() => {
  vi.unstubAllEnvs()
  rmSync(temporary, { recursive: true })
})

describeWith(['postgres'], 'a private PostgreSQL', { private: true }, () => behavesAsPrivateServer(checks.postgres))
describeWith(['redis'], 'a private Redis', { private: true }, () => behavesAsPrivateServer(checks.redis))
// These take ten times as long to start. Their service is tested by tests that kill and pause them at each merge.
if (isNight) {
  describeWith(['rabbitmq'], 'a private RabbitMQ', { private: true }, () => behavesAsPrivateServer(checks.rabbitmq))
  describeWith(['kafka'], 'a private Kafka', { private: true }, () => behavesAsPrivateServer(checks.kafka))
  describeWith(['mariadb'], 'a private MariaDB', { private: true }, () => behavesAsPrivateServer(checks.mariadb))
}

function behavesAsPrivateServer({ kind, settings, write, read }: Check): void {
  test('in a folder that is kept goes on where it was ended', async () => {
    const options = { settings, keepIn: keptFolder(), ports: await freePorts() }
    await using first = await startServer(kind, options)
    await write(first.url, 'before the end')
    await first.stop()
    await using second = await startServer(kind, options)
    expect(second.url).toBe(first.url)
    expect(await read(second.url)).toBe('before the end')
  })

  test('in a folder that is kept goes on although its owner was killed while it stood still', async () => {
    const keepIn = keptFolder()
    const options = { settings, keepIn, ports: await freePorts() }
    const module = new URL('./start.ts', import.meta.url).href
    const program = `const { startServer } = await import(${JSON.stringify(module)})
      const server = await startServer(${JSON.stringify(kind)}, ${JSON.stringify(options)})
      process.once('message', () => { server.pause(); process.send('paused') })
      process.send(server.url)`
    const args = ['--conditions=concordat-source', '--input-type=module', '--eval', program]
    const owner = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
    const [url] = (await once(owner, 'message')) as [string]
    await write(url, 'before the owner is killed')
    owner.send('pause')
    await once(owner, 'message')
    owner.kill('SIGKILL')
    await once(owner, 'exit')
    await using server = await startServer(kind, options)
    expect(await read(server.url)).toBe('before the owner is killed')
    await server.stop()
    await expect.poll(() => processesIn(keepIn), { timeout: 10_000 }).toEqual([])
  })

  let server: PrivateServer
  beforeAll(async () => {
    server = await startServer(kind, { settings })
  })
  afterAll(() => server.stop())

  test('keeps its data and its address across kill and start', async () => {
    const { url, pid } = server
    await write(url, 'before the kill')
    await server.kill()
    await expect(read(url)).rejects.toThrow()
    await server.start()
    expect(server.url).toBe(url)
    expect(server.pid).not.toBe(pid)
    expect(await read(url)).toBe('before the kill')
  })

  test('is silent while paused and answers after resume', async () => {
    await write(server.url, 'before the pause')
    server.pause()
    const answer = read(server.url).catch(() => 'gave up')
    expect(await Promise.race([answer, oneSecond()])).toBe('silence')
    server.resume()
    await answer
    expect(await read(server.url)).toBe('before the pause')
  })

  test('leaves no process and no folder after stop, even when paused', async () => {
    const { pid } = server
    expect(foldersLeft()).toHaveLength(1)
    server.pause()
    await server.stop()
    await server.stop()
    expect(() => process.kill(pid, 0)).toThrow('ESRCH')
    expect(foldersLeft()).toEqual([])
    await expect(server.start()).rejects.toThrow('stopped for good')
  })
}

describeWith(['redis'], 'startServer', { private: true }, () => {
  afterEach(() => {
    expect(foldersLeft()).toEqual([])
  })

  test('rejects with the end of the log when the server does not start', async () => {
    const start = startServer('redis', { settings: { 'no-such-setting': '1' } })
    await expect(start).rejects.toThrow(/redis at redis:.* ended at once.*no-such-setting/s)
  })

  test('leaves its log in the folder for logs, if there is one', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'kept-logs-'))
    vi.stubEnv(KEPT_LOGS, folder)
    const server = await startServer('redis')
    await server.stop()
    vi.stubEnv(KEPT_LOGS, undefined)
    const [log = ''] = readdirSync(folder)
    const kept = readFileSync(join(folder, log), 'utf8')
    rmSync(folder, { recursive: true })
    expect(kept).toContain('Ready to accept connections')
  })

  test('gives up when its signal aborts', async () => {
    const start = startServer('redis', { signal: AbortSignal.abort(new Error('no longer wanted')) })
    await expect(start).rejects.toThrow('no longer wanted')
  })

  test('runs servers side by side', async () => {
    await using one = await startServer('redis')
    await using other = await startServer('redis')
    await checks.redis.write(one.url, 'one')
    await checks.redis.write(other.url, 'other')
    expect(await checks.redis.read(one.url)).toBe('one')
    expect(one.pid).not.toBe(other.pid)
  })
})

/** The silence of a paused server has no signal to wait for: a second of it must do. */
function oneSecond(): Promise<string> {
  return new Promise((resolve) => {
    setTimeout(() => resolve('silence'), 1_000)
  })
}

function foldersLeft(): readonly string[] {
  return readdirSync(temporary)
}

/** A folder for one attempt of one test: files that it leaves when it fails do not disturb another. */
function keptFolder(): string {
  const folder = mkdtempSync(join(temporary, 'kept-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }))
  return folder
}

/** All processes that work in this folder or below it. */
function processesIn(folder: string): readonly string[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  return pids.flatMap((pid) => {
    try {
      if (!readlinkSync(`/proc/${pid}/cwd`).startsWith(folder)) return []
      return [`${pid} ${readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')}`]
    } catch {
      return []
    }
  })
}
