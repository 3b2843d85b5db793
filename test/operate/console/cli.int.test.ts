/** `npx concordat console` as a process, against a server. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createOperator } from '@concordat/cli'
import { createBinder, defineChannel, sink, TerminalError } from 'concordat/binder'
import { postgresTransport } from 'concordat/postgres'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
// oxlint-disable-next-line no-restricted-imports -- inside of the command line: its examples, to run each of them
import { COMMANDS } from '../../../packages/cli/commands/run-command-line.ts'
import { createDatabase, type TestDatabase } from '../../outbox/support/postgres.ts'
import { describeWith } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'

const MAIN = [`--conditions=concordat-source`, resolve('packages/cli/commands/main.ts')]
const placed = defineChannel('orders.placed', { payload: z.object({ n: z.number() }) })
const DECLARATIONS = `export const orders = { name: 'orders', sends: [{ name: 'orders.placed', partitions: 4, groups: [] }] }`

describeWith(['postgres'], 'npx concordat console', () => {
  let database: TestDatabase
  let folder: string
  beforeAll(async () => {
    database = await createDatabase()
    folder = await mkdtemp(join(tmpdir(), 'concordat-console-'))
    await writeFile(join(folder, 'concordat.config.ts'), DECLARATIONS)
    const { sql } = database
    const operator = createOperator({ sql })
    await operator.migrate({ by: 'test', reason: 'setup' })
    const stock = sink(placed, { group: 'stock', maxAttempts: 1 }, () => {
      throw new TerminalError('closed')
    })
    const binder = createBinder({ service: 'shop', transport: postgresTransport({ sql }), bindings: [stock] })
    await binder.start()
    await binder.send(placed, { n: 1 }, { id: 'o-1' })
    const place = { channel: 'orders.placed', group: 'stock' }
    await until('it is a dead letter', async () => (await operator.letters.count(place)) === 1)
    await binder.close()
  }, 120_000)
  afterAll(async () => {
    await database.drop()
    await rm(folder, { recursive: true, force: true })
  })

  /** Until it ends; `url` when it listens. */
  function start(...args: string[]) {
    const { PATH, NODE_COMPILE_CACHE } = process.env
    const env = { PATH, NODE_COMPILE_CACHE, CONCORDAT_POSTGRES: database.url, CONCORDAT_BY: 'ann' }
    const child = spawn(process.execPath, [...MAIN, 'console', ...args], {
      env,
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    onTestFinished(() => void child.kill('SIGKILL'))
    const said = { stdout: '', stderr: '' }
    child.stdout.on('data', (chunk) => (said.stdout += String(chunk)))
    child.stderr.on('data', (chunk) => (said.stderr += String(chunk)))
    const ended = once(child, 'exit').then(([code]) => code as number | null)
    const url = async (): Promise<URL> => {
      await until('it says where', () => /http:\S+/.test(said.stdout))
      return new URL(/http:[^\s"]+/.exec(said.stdout)?.[0] ?? '')
    }
    const stop = async (signal: NodeJS.Signals = 'SIGTERM') => {
      child.kill(signal)
      return ended
    }
    return { url, stop, said, ended }
  }

  /** Signs in as the page does, and asks with the cookie and the key. */
  async function signIn(url: URL, token = url.hash.replace('#token=', '')) {
    const headers = { 'content-type': 'application/json', 'sec-fetch-site': 'same-origin' }
    const post = (path: string, body: object, more: Record<string, string> = {}) =>
      fetch(new URL(path, url), { method: 'POST', headers: { ...headers, ...more }, body: JSON.stringify(body) })
    const signed = await post('api/session', { token })
    const cookie = signed.headers.get('set-cookie') ?? ''
    const { key = '' } = (await signed.json()) as { readonly key?: string }
    const both = { cookie: cookie.split(';')[0] ?? '', 'x-concordat-session': key }
    const get = (path: string, own: Record<string, string> = both) => fetch(new URL(path, url), { headers: own })
    const me = async () => (await (await get('api/me')).json()) as { user: string; allow: string[]; csrf: string }
    const act = async (path: string, body: object) =>
      post(path, body, { ...both, 'x-concordat-csrf': (await me()).csrf })
    return { status: signed.status, cookie, both, get, me, act }
  }

  test('listens on loopback, and its address works once', async () => {
    const { url, stop, said } = start('--port', '0', 'concordat.config.ts')
    const address = await url()
    expect(address.hostname).toBe('127.0.0.1')
    expect((await fetch(new URL('api/me', address))).status).toBe(401)
    expect((await signIn(address, 'x'.repeat(43))).status).toBe(401)
    const session = await signIn(address)
    expect(session.status).toBe(200)
    expect(session.cookie).toMatch(/^concordat-console-[1-9]\d+=[\w-]{43}; HttpOnly; SameSite=Strict; Path=\/$/)
    expect((await signIn(address)).status).toBe(401)
    // A browser sends the cookie to every port of the host: another server there could take it.
    expect((await session.get('api/me', { cookie: session.both.cookie })).status).toBe(401)
    expect((await session.get('api/me', { 'x-concordat-session': session.both['x-concordat-session'] })).status).toBe(
      401,
    )
    const { user, allow } = await session.me()
    expect(user).toBe('ann')
    expect(allow).toContain('saga.retry')
    expect(allow).not.toContain('payloads')
    const letters = (await (
      await session.act('api/look', { channel: 'orders.placed', group: 'stock' })
    ).json()) as object
    expect(letters).toMatchObject({ count: 1, letters: [{ id: 'o-1' }] })
    expect(await (await session.get('api/topology')).json()).toMatchObject({ services: [{ name: 'orders' }] })
    const events = await session.get('api/events')
    expect(await stop()).toBe(0)
    await events.body?.cancel().catch(() => {})
    expect(said.stderr).toBe('')
  })

  test('answers on the loopback address that it listens on', async () => {
    const { url, stop } = start('--port', '0', '--host', '127.0.0.2')
    const session = await signIn(await url())
    expect((await session.get('api/me')).status).toBe(200)
    expect(await stop()).toBe(0)
  })

  test('--read-only does nothing; --json prints one line; Ctrl-C ends it', async () => {
    const { url, stop, said } = start('--port', '0', '--read-only', '--json')
    const session = await signIn(await url())
    expect(JSON.parse(said.stdout)).toEqual({ url: expect.stringMatching(/#token=/), readOnly: true })
    expect((await session.me()).allow).toEqual(['view'])
    const drop = { channel: 'orders.placed', group: 'stock', do: 'drop', dryRun: false, reason: 'a try' }
    expect((await session.act('api/letters', drop)).status).toBe(403)
    expect((await session.act('api/look', drop)).status).toBe(403)
    expect(await stop('SIGINT')).toBe(0)
  })

  test('where others reach it, it needs a token and a name of its own', async () => {
    for (const args of [
      ['--host', '0.0.0.0'],
      ['--host', '0.0.0.0', '--allowed-host', 'ops.test'],
      ['--host', '::'],
    ]) {
      const { ended, said } = start(...args, '--port', '0')
      expect(await ended).toBe(2)
      expect(said.stderr).toContain('--token-file')
    }
    const token = 'f'.repeat(40)
    await writeFile(join(folder, 'token'), `${token}\n`)
    const { url, stop, said } = start(
      '--host',
      '0.0.0.0',
      '--port',
      '0',
      '--allowed-host',
      'ops.test',
      '--token-file',
      'token',
    )
    const address = await url()
    expect(address.hostname).toBe('ops.test')
    expect(said.stdout).not.toContain(token)
    expect(said.stdout).toContain('put TLS in front of it')
    address.hostname = '127.0.0.1'
    expect([(await signIn(address, token)).status, (await signIn(address, token)).status]).toEqual([200, 200])
    await stop()
  })

  test.each([
    [['--port', '70000'], '--port: expected at most 65535'],
    [['--token-file', 'none'], '--token-file: none cannot be read'],
    [['--token-file', 'concordat.config.ts'], '--token-file: expected 32 to 200 letters'],
    [['none.ts'], 'none.ts: there is no such file'],
  ])('%j is a mistake on the command line', async (args, said) => {
    const { ended, said: printed } = start(...args)
    expect(await ended).toBe(2)
    expect(printed.stderr).toContain(said)
  })

  const examples = COMMANDS.find(({ name }) => name === 'console')?.examples ?? []

  test.each(examples)('example: %s', async (example) => {
    // The usual port may be taken here.
    const { url, stop } = start(
      ...example.replace('npx concordat console', '').split(' ').filter(Boolean),
      '--port',
      '0',
    )
    expect((await fetch(await url())).headers.get('content-security-policy')).toContain("default-src 'none'")
    expect(await stop()).toBe(0)
  })
})
