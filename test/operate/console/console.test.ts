import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createOperator, type InstancesView } from '@concordat/cli'
import { CONSOLE_ACTIONS, type ConsoleOptions, oneTimeSession } from '@concordat/console'
import { pgliteClient } from 'concordat/core/pglite'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { freshPglite } from '../../support/pglite.ts'
import { until } from '../../support/until.ts'
import { everything, ORIGIN, opened, retry, status } from './support/opened.ts'
import { CARD, type ShopWorld, shopWorld } from './support/shop-world.ts'

let world: ShopWorld
let page: string
beforeAll(async () => {
  world = await shopWorld()
  page = await mkdtemp(join(tmpdir(), 'concordat-page-'))
  await writeFile(join(page, 'index.html'), '<!doctype html><title>page</title>')
}, 180_000)
afterAll(async () => {
  await world.close()
  await rm(page, { recursive: true, force: true })
})

const open = (options: Partial<ConsoleOptions> = {}) => opened(world, { page, ...options })

describe('without `authorize`', () => {
  test('everything without payloads is shown, and nothing can be done', async () => {
    const { json, send } = open()
    expect(await json('me')).toMatchObject({ user: 'anonymous', allow: ['view'], readOnly: true })
    for (const route of [
      'saga',
      'sagas',
      'letters',
      'outbox',
      'lock',
      'leader',
      'payload',
      'undo',
      'session',
      'nothing',
    ])
      expect(await status(send(route, retry)), route).toEqual([405, 'console.read_only', 'GET'])
  })

  test('words of errors, values of headers and payloads stay here', async () => {
    const { get } = open()
    const asked = ['sagas', 'saga?saga=buy&id=o-1', 'bindings', 'outbox', 'audit']
    const texts = await Promise.all(asked.map(async (path) => (await get(`api/${path}`)).text()))
    const all = texts.join('\n')
    expect(all).toContain('carrier.closed')
    for (const hidden of ['closed on Sundays', 'no answer', 'no topic', 'hunter2', CARD, 'shelf', '"eu"'])
      expect(all).not.toContain(hidden)
  })

  test('why an action was refused stays here, and is shown with `payloads`', async () => {
    const target = { saga: 'buy', id: 'o-1' }
    const note = { by: 'ann', reason: 'a test' }
    await expect(world.operator.sagas.compensate(target, note)).rejects.toThrow('not on its pivot')
    const last = async (options?: Partial<ConsoleOptions>) => {
      const { timeline } = (await open(options).json('saga?saga=buy&id=o-1')) as { timeline: object[] }
      return timeline.at(-1)
    }
    const refused = { kind: 'operator-refused', detail: { action: 'compensate', ...note, why: '***' } }
    expect(await last()).toMatchObject(refused)
    expect(await last({ authorize: everything })).not.toMatchObject(refused)
  })
})

describe('`authorize`', () => {
  test('is asked for each action with its target, and its no is one', async () => {
    const asked: string[] = []
    const { send, json } = open({
      authorize: ({ action, target }) => {
        asked.push(`${action} ${target}`)
        return { user: 'bob', allow: action === 'view' }
      },
    })
    expect(await json('me')).toMatchObject({ user: 'bob', allow: ['view'], readOnly: false })
    expect(await status(send('saga', { ...retry, id: 'o/2' }))).toEqual([403, 'console.not_allowed'])
    expect(asked).toContain('saga.retry buy/o/2')
    expect((await world.operator.sagas.show({ saga: 'buy', id: 'o/2' })).status).toBe('stuck')
  })

  test.each([
    ['nobody', () => undefined],
    ['what throws', () => Promise.reject(new Error('no session store'))],
    ['a user without a name', () => ({ user: '', allow: true })],
    ['what is no answer', () => 'yes' as never],
  ])('%s sees nothing, the page neither', async (_, authorize) => {
    const { get } = open({ authorize })
    for (const path of ['', 'api/me', 'api/sagas', 'api/events'])
      expect(await status(get(path)), path).toEqual([401, 'console.unauthenticated'])
  })

  test('an authorize that does not answer within 5 s is a no', async () => {
    const { get } = open({ authorize: () => new Promise(() => {}) })
    expect(await status(get('api/sagas'))).toEqual([401, 'console.unauthenticated'])
  })

  test('allow that is not `true` is a no', async () => {
    const { get } = open({ authorize: () => ({ user: 'ann', allow: 'no' as never }) })
    expect(await status(get('api/sagas'))).toEqual([403, 'console.not_allowed'])
  })
})

describe('words of a list', () => {
  const stock = { channel: 'orders.placed', group: 'stock' }
  const only = (allowed: readonly string[]) => {
    const asked = new Set<string | undefined>()
    const authorize: ConsoleOptions['authorize'] = ({ action, target }) => {
      if (action === 'payloads') asked.add(target)
      // Like a policy that decides which buttons to show, and hides some data behind them.
      return { user: 'ann', allow: action !== 'payloads' || target === undefined || allowed.includes(target) }
    }
    return { authorize, asked }
  }

  test('words of sagas are authorized line by line', async () => {
    const { authorize, asked } = only(['buy/o/2'])
    const { sagas } = await open({ authorize }).json('sagas?status=stuck&saga=buy')
    const words = (sagas as { id: string; failure: { message: string } }[]).map(({ id, failure }) => [
      id,
      failure.message === '***',
    ])
    expect(Object.fromEntries(words)).toEqual({ 'o-1': true, 'o/2': false, 'o-3': true })
    expect(asked).toEqual(new Set(['buy/o-1', 'buy/o/2', 'buy/o-3']))
  })

  test('words of dead letters are authorized one by one, under the target of a payload reading', async () => {
    const { authorize, asked } = only(['orders.placed.stock.dlq/d-2'])
    const page = (await (await open({ authorize }).send('look', stock)).json()) as {
      letters: { id: string; headers: { region: string }; error: { message: string } }[]
    }
    const regions = Object.fromEntries(page.letters.map(({ id, headers }) => [id, headers.region]))
    expect(regions).toEqual({ 'd-1': '***', 'd-2': 'eu', 'd-3': '***' })
    expect(asked).toContain('orders.placed.stock.dlq/d-1')
  })

  test('words of parked messages are authorized with the destination and the id', async () => {
    for (const [allowed, lastError] of [
      ['refunds.due/m-1', 'no topic refunds.due'],
      ['payroll/m-1', '***'],
    ] as const) {
      const { authorize } = only([allowed])
      expect(await open({ authorize }).json('outbox')).toMatchObject({ parked: [{ id: 'm-1', lastError }] })
    }
  })

  test('words of bindings are authorized with the channel and the group', async () => {
    const { authorize, asked } = only(['orders.placed.stock'])
    const [first] = world.bindings()
    if (first === undefined) throw new Error('the shop has bindings')
    const failed = (group: string | null) => ({ ...first, channel: 'orders.placed', group, error: 'refused: hunter2' })
    const bindings = () => [failed('stock'), failed('payroll'), failed(null)]
    const shown = (await open({ authorize, bindings }).json('bindings')) as { error: string }[]
    expect(shown.map(({ error }) => error)).toEqual(['refused: hunter2', '***', '***'])
    expect(asked).toEqual(new Set(['orders.placed.stock', 'orders.placed.payroll', 'orders.placed']))
  })
})

describe('other sites', () => {
  const act = { authorize: everything }

  test('a name that is not allowed is answered with 421, whatever is asked', async () => {
    const { get } = open(act)
    for (const path of ['', 'api/me'])
      expect(await status(get(path, {}, 'http://evil.test:4180'))).toEqual([421, 'console.wrong_host'])
    for (const origin of ['http://127.0.0.1:9', 'http://[::1]:4180', 'https://localhost'])
      expect((await get('api/me', {}, origin)).status).toBe(200)
    const { get: named } = open({ ...act, allowedHosts: ['Ops.Example.com', 'other.test:8443'] })
    expect((await named('api/me', {}, 'https://ops.example.com')).status).toBe(200)
    expect((await named('api/me', {}, 'https://other.test:8443')).status).toBe(200)
    expect((await named('api/me', {}, 'https://other.test:9')).status).toBe(421)
  })

  test('an action needs JSON, our own site and the token', async () => {
    const { send } = open(act)
    expect(await status(send('saga', retry))).toEqual([404, 'saga.not_found'])
    const refused: [Record<string, string>, number, string][] = [
      [{ 'content-type': 'text/plain' }, 415, 'console.not_json'],
      [{ 'content-type': 'application/jsonx' }, 415, 'console.not_json'],
      [{ 'sec-fetch-site': 'cross-site' }, 403, 'console.cross_site'],
      [{ 'sec-fetch-site': 'same-site' }, 403, 'console.cross_site'],
      [{ 'sec-fetch-site': 'none' }, 403, 'console.cross_site'],
      [{ 'x-concordat-csrf': '' }, 403, 'console.csrf'],
      [{ 'x-concordat-csrf': 'x'.repeat(43) }, 403, 'console.csrf'],
    ]
    for (const [headers, ...expected] of refused)
      expect(await status(send('saga', retry, headers)), JSON.stringify(headers)).toEqual(expected)
  })

  test('where a browser does not say its site, the origin has to be ours', async () => {
    const { console, json } = open(act)
    const { csrf } = (await json('me')) as { csrf: string }
    const from = (origin?: string) => {
      const headers = {
        'content-type': 'application/json',
        'x-concordat-csrf': csrf,
        ...(origin !== undefined && { origin }),
      }
      return console(new Request(`${ORIGIN}/api/saga`, { method: 'POST', headers, body: JSON.stringify(retry) }))
    }
    expect(await status(from(ORIGIN))).toEqual([404, 'saga.not_found'])
    for (const origin of [
      undefined,
      'null',
      'http://evil.test',
      'http://localhost:4181',
      'http://localhost:4180.evil.test',
    ])
      expect(await status(from(origin)), origin).toEqual([403, 'console.cross_site'])
  })

  test('the token is that of the user', async () => {
    const { json, send } = open({
      authorize: ({ request }) => ({ user: request.headers.get('x-user') ?? 'ann', allow: true }),
    })
    const { csrf } = (await json('me')) as { csrf: string }
    expect(await status(send('saga', retry, { 'x-concordat-csrf': csrf, 'x-user': 'bob' }))).toEqual([
      403,
      'console.csrf',
    ])
  })

  test("processes with the same secret take each other's tokens", async () => {
    const secret = 's'.repeat(32)
    const [one, two] = [open({ ...act, secret }), open({ ...act, secret })]
    expect(await one.json('me')).toEqual(await two.json('me'))
    expect(() => open({ ...act, secret: 'short' })).toThrow('createConsole.secret: expected at least 32 characters')
  })

  test('another site cannot read anything either, and no answer permits one', async () => {
    const { get } = open()
    expect(await status(get('api/sagas', { 'sec-fetch-site': 'cross-site' }))).toEqual([403, 'console.cross_site'])
    const { headers } = await get('api/sagas', { origin: 'http://evil.test' })
    expect([...headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([])
  })

  test.each(['', 'api/me', 'api/nothing', 'nothing', 'api/events'])(
    'every answer has the headers: /%s',
    async (path) => {
      const { get } = open()
      const response = await get(path)
      await response.body?.cancel()
      const { headers } = response
      expect(headers.get('content-security-policy')).toBe(
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
      )
      expect(headers.get('x-content-type-options')).toBe('nosniff')
      expect(headers.get('x-frame-options')).toBe('DENY')
      expect(headers.get('cache-control')).toContain('no-store')
      expect(headers.get('referrer-policy')).toBe('no-referrer')
      expect(headers.get('cross-origin-resource-policy')).toBe('same-origin')
      expect(headers.get('cross-origin-opener-policy')).toBe('same-origin')
    },
  )
})

describe('limits', () => {
  test('limits hold for bodies, their content, lists, and actions per second', async () => {
    const { send, get } = open({ authorize: everything })
    expect(await status(send('saga', { ...retry, reason: 'x'.repeat(1_100_000) }))).toEqual([413, 'console.too_large'])
    for (const body of [
      '{',
      '[]',
      'null',
      '"x"',
      {},
      { ...retry, do: 'drop' },
      { ...retry, reason: '' },
      { ...retry, reason: 7 },
    ])
      expect(await status(send('saga', body)), JSON.stringify(body)).toEqual([422, 'console.input'])
    expect(await status(send('look', { channel: 'a' }))).toEqual([422, 'console.input'])
    for (const path of ['sagas?limit=201', 'sagas?limit=-1', 'sagas?status=odd', 'sagas?after=x', 'locks?limit=1e3'])
      expect(await status(get(`api/${path}`)), path).toEqual([422, 'console.input'])
    const { send: hurried } = open({ authorize: everything })
    const answers = await Promise.all(Array.from({ length: 60 }, () => hurried('nothing', retry)))
    expect(answers.map((answer) => answer.status)).toContain(429)
  })

  test('the oldest of 51 streams gives way, and close() ends them all', async () => {
    const { get, console } = open()
    const streams = await Promise.all(Array.from({ length: 51 }, () => get('api/events')))
    const readers = streams.map(({ body }) => body?.getReader())
    const ended = async (n: number) => {
      for (;;) if ((await readers[n]?.read())?.done !== false) return true
    }
    expect(await ended(0)).toBe(true)
    await console.close()
    expect(await Promise.all(readers.map((_, n) => ended(n)))).not.toContain(false)
  })
})

describe('errors', () => {
  test('errors of the database reveal nothing of it', async () => {
    const operator = createOperator({ sql: world.sql, schema: 'elsewhere' })
    const broken = {
      ...operator,
      doctor: () => Promise.reject(new Error('password authentication failed for hunter2')),
    }
    const { get } = open({ operator: broken })
    const doctor = await get('api/doctor')
    expect(await status(doctor)).toEqual([500, 'console.failed'])
    expect(await doctor.text()).not.toContain('hunter2')
    expect(await status(get('api/sagas'))).toEqual([409, 'core.tables_missing'])
  })

  test('an unavailable or silent server answers 503', async () => {
    const away = Object.assign(new Error('connect ECONNREFUSED 10.0.0.7:5432'), { code: 'ECONNREFUSED' })
    const { get } = open({ operator: { ...world.operator, doctor: () => Promise.reject(away) } })
    const response = await get('api/doctor')
    expect(await status(response)).toEqual([503, 'console.away'])
    expect(await response.text()).not.toContain('10.0.0.7')
  })

  test('name an option that is wrong', () => {
    expect(() => open({ basePath: 'ops' })).toThrow('createConsole.basePath')
    expect(() => open({ authorise: everything } as object)).toThrow('Did you mean "authorize"?')
    expect(() => open({ operator: {} as never })).toThrow('createConsole.operator')
    expect(() => open({ redact: 'all' as never })).toThrow('createConsole.redact')
  })

  test('a page that was not built is said with the remedy, and the API answers', async () => {
    const { get } = open({ page: join(page, 'none') })
    const response = await get('')
    expect(await status(response)).toEqual([503, 'console.page_missing'])
    expect(await response.text()).toContain('npm run build')
    expect((await get('api/me')).status).toBe(200)
  })
})

describe('paths', () => {
  test('below its base path, and nowhere else', async () => {
    const { get } = open({ basePath: '/ops' })
    const moved = await get('ops')
    expect([moved.status, moved.headers.get('location')]).toEqual([308, './ops/'])
    expect(await (await get('ops/')).text()).toContain('<title>page</title>')
    expect((await get('ops/api/me')).status).toBe(200)
    for (const path of [
      '',
      'api/me',
      'opsx/',
      'ops/../api/me',
      'ops/package.json',
      'ops/..%2f..%2fpackage.json',
      'ops/api/constructor',
      'ops/api/__proto__',
    ])
      expect((await get(path)).status, path).toBe(404)
  })
})

test('each action has a button or a route, and none is without `authorize`', async () => {
  const asked = new Set<string>()
  const { json } = open({ authorize: ({ action }) => (asked.add(action), { user: 'ann', allow: true }) })
  expect(((await json('me')) as { allow: string[] }).allow).toEqual([...CONSOLE_ACTIONS])
  expect(asked).toEqual(new Set(CONSOLE_ACTIONS))
})

describe('instances', () => {
  test('are shown each for itself and summed, without a word of an error', async () => {
    const { json, get, console } = open()
    const view = async () => (await json('instances')) as InstancesView
    await until('the shop has reported', async () => (await view()).instances.length === 1)
    const { instances, bindings } = await view()
    expect(instances).toMatchObject([{ address: 'shop:default:shop-1', bindings: 2, notRunning: [] }])
    expect(bindings).toMatchObject([
      { service: 'shop', name: 'orders.paid.audit', states: { running: 1 }, instances: 1 },
      { service: 'shop', name: 'orders.placed.stock', states: { running: 1 }, deadLettered: 3 },
    ])
    const address = encodeURIComponent('shop:default:shop-1')
    expect(await json(`instance?address=${address}`)).toMatchObject([{ name: 'orders.placed.stock' }, {}])
    expect(await status(get('api/instance?address=x'))).toEqual([404, 'console.not_found'])
    expect(JSON.stringify(await view())).not.toContain('no answer')
    await console.close()
  })

  test('where there is no bus are said to be missing, which is no fault', async () => {
    const database = freshPglite()
    await database.waitReady
    const sql = pgliteClient(database)
    const { get } = open({ operator: createOperator({ sql }), services: [] })
    expect(await status(get('api/instances'))).toEqual([409, 'operate.transport_missing'])
    await createOperator({ sql }).migrate({ by: 'test', reason: 'a log without a bus' })
    const later = open({ operator: createOperator({ sql }), services: [] })
    expect(await status(later.get('api/instances'))).toEqual([409, 'console.bus_missing'])
    await database.close()
  })
})

describe('a session', () => {
  test('is opened by the right token however many wrong ones another program sends', async () => {
    const session = oneTimeSession({ user: 'ann' })
    const { send } = open({ session })
    const wrong = await Promise.all(Array.from({ length: 60 }, () => send('session', { token: 'x'.repeat(43) })))
    expect(new Set(wrong.map((answer) => answer.status))).toEqual(new Set([401, 429]))
    expect(await wrong[0]?.text()).toContain('this token is another one')
    expect((await send('session', { token: session.token })).status).toBe(200)
  })

  test.for<readonly [options: object, path: string]>([
    [{ user: 5 }, 'oneTimeSession.user'],
    [{ user: '' }, 'oneTimeSession.user'],
    [{ user: 'ann', token: 5 }, 'oneTimeSession.token'],
    [{ user: 'ann', token: 'short' }, 'oneTimeSession.token'],
    [{ user: 'ann', allow: true }, 'oneTimeSession.allow'],
    [{ user: 'ann', cookie: 'a; Path=/' }, 'oneTimeSession.cookie'],
    [{ user: 'ann', coookie: 'a' }, 'oneTimeSession.coookie'],
  ])('refuses %j, naming the option', ([options, path]) => {
    expect(() => oneTimeSession(options as never)).toThrow(path)
  })

  test('says of its own token that it was used', async () => {
    const session = oneTimeSession({ user: 'ann' })
    const { send } = open({ session })
    expect((await send('session', { token: session.token })).status).toBe(200)
    expect(await (await send('session', { token: session.token })).text()).toContain('this link was already used')
  })
})
