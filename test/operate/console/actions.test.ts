import { createOperator } from '@concordat/cli'
import { type ConsoleEvent, type ConsoleOptions } from '@concordat/console'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { everything, opened, status } from './support/opened.ts'
import { type ShopWorld, shopWorld } from './support/shop-world.ts'

let world: ShopWorld
beforeAll(async () => {
  world = await shopWorld()
}, 180_000)
afterAll(() => world.close())

const open = (options: Partial<ConsoleOptions> = {}) => opened(world, options)

describe('actions', () => {
  test('each is done by the operator, and told with who and why', async () => {
    const events: ConsoleEvent[] = []
    const { send, json } = open({ authorize: everything, onAction: (event) => events.push(event) })
    const reason = 'looked at it'
    expect(await (await send('outbox', { id: 'm-1', do: 'retry', reason })).json()).toEqual({ done: true })
    expect(await status(send('outbox', { id: 'm-1', do: 'retry', reason }))).toEqual([409, 'console.gone'])
    const resolved = await send('saga', { saga: 'buy', id: 'o-3', do: 'resolve', outcome: 'completed', reason })
    expect(await resolved.json()).toMatchObject({ outcome: 'applied', status: 'completed' })
    const place = { channel: 'orders.placed', group: 'stock' }
    const dry = (await (await send('letters', { ...place, do: 'drop', id: 'd-1', reason })).json()) as {
      letters: unknown[]
    }
    expect(dry.letters).toHaveLength(1)
    expect(JSON.stringify(dry)).not.toContain('hunter2')
    expect(
      await (await send('letters', { ...place, do: 'drop', id: 'd-1', dryRun: false, reason })).json(),
    ).toMatchObject({ sent: 1 })
    const stale = { reason: 'a page of yesterday', tokens: [0] }
    expect(await status(send('leader', { role: 'settlement', ...stale }))).toEqual([409, 'locks.holder_changed'])
    expect(await status(send('lock', { key: 'sku:apple', ...stale }))).toEqual([409, 'locks.holder_changed'])
    events.length -= 2
    expect(await (await send('leader', { role: 'settlement', reason })).json()).toMatchObject({ by: 'ann' })
    expect(await (await send('lock', { key: 'sku:apple', reason })).json()).toMatchObject({ by: 'ann' })
    expect(events).toMatchObject([
      { action: 'outbox.retry', target: 'm-1', by: 'ann', reason },
      { action: 'outbox.retry', target: 'm-1', failed: 'console.gone' },
      { action: 'saga.resolve', target: 'buy/o-3' },
      { action: 'letters.drop', target: 'orders.placed.stock.dlq' },
      { action: 'leader.step-down', target: 'settlement' },
      { action: 'lock.release', target: 'sku:apple' },
    ])
    const audit = (await json('audit')) as Array<{
      part: string
      action: string
      target: string
      by: string
      reason: string
    }>
    const said = audit.filter((line) => line.by === 'ann' && line.reason === reason)
    expect(said.map(({ part, action }) => `${part} ${action}`).toSorted()).toEqual([
      'leader step-down',
      'letters drop',
      'locks release',
      'outbox retry',
      'saga resolve',
    ])
  })

  test('a stuck saga is retried and completes; many are looked at before', async () => {
    const { send } = open({ authorize: everything })
    world.outside.bank = true
    const dry = await send('sagas', { do: 'retry', filter: { saga: 'buy' }, reason: 'a look' })
    expect(await dry.json()).toMatchObject({ dryRun: true, results: [{ id: 'o-1', outcome: 'would' }, { id: 'o/2' }] })
    const done = await send('saga', { saga: 'buy', id: 'o-1', do: 'retry', reason: 'the carrier is open' })
    expect(await done.json()).toMatchObject({ outcome: 'applied' })
    await expect
      .poll(async () => (await world.operator.sagas.show({ saga: 'buy', id: 'o-1' })).status, { timeout: 10_000 })
      .toBe('completed')
  })

  test('a bulk action asks for each saga, and leaves out those that the user may not settle', async () => {
    const asked = new Set<string | undefined>()
    const { send } = open({
      authorize: ({ action, target }) => {
        if (action === 'saga.cancel') asked.add(target)
        return { user: 'ann', allow: target !== 'approve/a-2' }
      },
    })
    const order = { do: 'cancel', filter: { saga: 'approve' }, reason: 'the form has changed' }
    const dry = await (await send('sagas', order)).json()
    expect(dry).toMatchObject({ dryRun: true, results: [{ id: 'a-1' }], chosen: [{ id: 'a-1' }], notAllowed: 1 })
    // Also where the page of another user had chosen both.
    const among = ['a-1', 'a-2'].map((id) => ({ saga: 'approve', id }))
    const done = await (await send('sagas', { ...order, among, dryRun: false })).json()
    expect(done).toMatchObject({ dryRun: false, results: [{ id: 'a-1', outcome: 'applied' }], notAllowed: 1 })
    expect(await world.operator.sagas.show({ saga: 'approve', id: 'a-2' })).toMatchObject({ status: 'running' })
    expect(asked).toEqual(new Set([undefined, 'approve/a-1', 'approve/a-2']))
  })

  test('a binding is paused and resumed over the bus where it is meant to be, by whom and why', async () => {
    const asked: string[] = []
    const { send } = open({
      authorize: ({ action, target }) => {
        if (target !== undefined) asked.push(`${action} ${target}`)
        return { user: 'ann', allow: target === undefined || !target.startsWith('**') }
      },
    })
    const binding = 'orders.paid.audit'
    const order = { do: 'pause', binding, to: 'shop:**', reason: 'the disk is full' }
    const state = () => world.bindings().find(({ name }) => name === binding)?.state
    const answers = { acked: ['shop:default:shop-1'], failed: [], ignored: [], missing: [] }
    expect(await (await send('binding', order)).json()).toEqual(answers)
    expect(state()).toBe('paused')
    expect(await (await send('binding', { ...order, do: 'resume', to: 'shop:default:shop-1' })).json()).toEqual(answers)
    expect(state()).toBe('running')
    expect(asked).toEqual([
      'binding.pause shop:** orders.paid.audit',
      'binding.resume shop:default:shop-1 orders.paid.audit',
    ])
    expect((await world.operator.audit()).slice(0, 2)).toMatchObject([
      { part: 'bus', action: 'concordat.resume-binding', target: `shop:default:shop-1 ${binding}`, by: 'ann' },
      {
        part: 'bus',
        action: 'concordat.pause-binding',
        target: `shop:** ${binding}`,
        reason: 'the disk is full',
        outcome: '1 did it, 0 failed, 0 ignored it, 0 did not answer',
      },
    ])
    const refused = await send('binding', { ...order, binding: 'concordat.bus' })
    expect(await refused.json()).toMatchObject({ acked: [], failed: [{ address: 'shop:default:shop-1' }] })
    expect(await status(send('binding', { ...order, to: 'nobody:**' }))).toEqual([409, 'console.gone'])
    expect(await status(send('binding', { ...order, to: '**' }))).toEqual([403, 'console.not_allowed'])
    expect(await status(send('binding', { ...order, to: 'shop' }))).toEqual([422, 'bus.address'])
    expect(await status(send('binding', { ...order, do: 'stop' }))).toEqual([422, 'console.input'])
    expect(await status(send('binding', { ...order, reason: undefined }))).toEqual([422, 'console.input'])
  })

  test('a result that is nested too deep to be kept is a mistake of the input', async () => {
    const { send } = open({ authorize: everything })
    const result = '['.repeat(15_000) + ']'.repeat(15_000)
    const body = `{"saga":"buy","id":"o/2","do":"skip","reason":"a test","result":${result}}`
    expect(await status(send('saga', body))).toEqual([422, 'core.codec'])
  })

  test('a payload is shown with its secrets hidden, after its look is in the audit', async () => {
    const { send } = open({
      authorize: everything,
      redact: (value, { path }) => (path === 'body.orderId' ? String(value).slice(0, 2) : value),
    })
    const place = { channel: 'orders.placed', group: 'stock' }
    const shown = await send('payload', { of: 'letter', ...place, id: 'd-2' })
    expect(await shown.json()).toEqual({
      body: { as: 'json', value: { orderId: 'd-', card: '***' }, bytes: 57, cut: false },
    })
    const saga = await send('payload', { of: 'saga', saga: 'buy', id: 'o/2', reason: 'the customer asks' })
    expect(await saga.json()).toMatchObject({
      input: { orderId: 'o/2', card: '***' },
      results: [
        { step: 'reserve', result: { shelf: 7 } },
        { step: 'charge', result: { token: '***' } },
      ],
    })
    expect((await world.operator.audit()).slice(0, 2)).toMatchObject([
      { part: 'console', action: 'payloads', target: 'buy/o/2', by: 'ann', reason: 'the customer asks' },
      { part: 'console', action: 'payloads', target: 'orders.placed.stock.dlq/d-2', by: 'ann' },
    ])
  })

  const differ = (...of: Awaited<ReturnType<ShopWorld['operator']['undo']['differences']>>) => ({
    ...world.operator,
    undo: { ...world.operator.undo, open: async () => [], differences: async () => of },
  })

  test('values of rows are shown by a look that is in the audit, with secrets hidden', async () => {
    const account = { table: 'account', key: { id: '7', card_number: '4111' } }
    const operator = differ(
      { ...account, column: 'cents', expected: '5', found: '900' },
      { ...account, column: 'iban', expected: 'DE02', found: 'DE03' },
      { ...account, column: 'name', expected: 'Ann', found: 'Bob' },
      { ...account, column: 'profile', expected: '{"password": "hunter2", "age": 7}', found: '{"age": 7}' },
      { ...account, column: 'notes', expected: '{"a":{"pin_token":"hunter2"},"a":1}', found: '{"a":1}' },
      { ...account, expected: 'a row', found: 'no row' },
    )
    const branch = { saga: 'buy', id: 'o/2', step: 'pay' }
    const asked = `differences?${new URLSearchParams(branch).toString()}`
    const hidden = { table: 'account', key: {}, expected: '***', found: '***' }
    const { json, send } = open({
      operator,
      authorize: everything,
      redact: (value, { kind, saga, path }) =>
        kind === 'row' && saga === 'buy' && path === 'account.name' ? '?' : value,
    })
    for (const read of [json, open({ operator }).json])
      expect(await read(asked)).toEqual([
        { ...hidden, column: 'cents' },
        { ...hidden, column: 'iban' },
        { ...hidden, column: 'name' },
        { ...hidden, column: 'profile' },
        { ...hidden, column: 'notes' },
        hidden,
      ])
    const look = { of: 'branch', ...branch, reason: 'the bank asks' }
    const key = { id: '7', card_number: '***' }
    expect(await (await send('payload', look)).json()).toEqual({
      rows: [
        { table: 'account', key, column: 'cents', expected: '5', found: '900' },
        { table: 'account', key, column: 'iban', expected: '***', found: '***' },
        { table: 'account', key, column: 'name', expected: '?', found: '?' },
        { table: 'account', key, column: 'profile', expected: '{"password":"***","age":7}', found: '{"age": 7}' },
        // The first of two members with one name.
        { table: 'account', key, column: 'notes', expected: '{"a":1}', found: '{"a":1}' },
        { table: 'account', key, expected: 'a row', found: 'no row' },
      ],
    })
    const [line] = await world.operator.audit()
    expect(line).toMatchObject({ action: 'payloads', target: 'buy/o/2/pay', by: 'ann', reason: 'the bank asks' })
    const may = ({ target }: { target?: string | undefined }) => ({ user: 'bob', allow: target !== 'buy/o/2/pay' })
    expect(await status(open({ operator, authorize: may }).send('payload', look))).toEqual([403, 'console.not_allowed'])
  })

  test('a branch that cannot be undone is settled', async () => {
    const branch = { saga: 'buy', id: 'o/2', step: 'pay' }
    const settled: unknown[] = []
    const undo = {
      open: () => world.operator.undo.open(),
      differences: async () => [{ table: 'account', key: { id: '7' }, column: 'cents', expected: '5', found: '900' }],
      settle: async (...given: unknown[]) => void settled.push(given),
    }
    const operator = { ...world.operator, undo }
    const { send, json } = open({ operator, authorize: everything })
    expect(await json('undo')).toEqual([])
    expect(await json('prepared')).toEqual([])
    const order = { ...branch, choice: 'keep', reason: 'put right by hand' }
    expect(await (await send('undo', order)).json()).toEqual({ done: true })
    expect(settled).toEqual([[branch, 'keep', { by: 'ann', reason: 'put right by hand' }]])
    expect(await status(send('undo', { ...order, choice: 'odd' }))).toEqual([422, 'console.input'])
    const conflict = Object.assign(new Error('account id=7 cents: expected 5, found 900'), {
      code: 'saga.undo_conflict',
    })
    const { send: refused } = open({
      operator: { ...operator, undo: { ...undo, settle: () => Promise.reject(conflict) } },
      authorize: everything,
    })
    const answer = await refused('undo', order)
    expect(await status(answer)).toEqual([409, 'saga.undo_conflict'])
    expect(await answer.text()).not.toContain('900')
    const { send: real } = open({ authorize: everything })
    expect(await status(real('undo', order))).toEqual([404, 'saga.undo_not_found'])
  })

  const stock = { channel: 'orders.placed', group: 'stock' }

  test('dead letters are not read but by a look that is allowed; their counts are for everybody', async () => {
    const lists: unknown[] = []
    const letters = {
      ...world.operator.letters,
      count: (place: typeof stock) => world.operator.letters.count(place),
      page: (...given: Parameters<typeof world.operator.letters.page>) => {
        lists.push(given)
        return world.operator.letters.page(...given)
      },
    }
    const operator = { ...world.operator, letters }
    const { send, get } = open({ operator })
    expect(await status(send('look', stock))).toEqual([405, 'console.read_only', 'GET'])
    expect((await get(`api/letters?${new URLSearchParams(stock).toString()}`)).status).toBe(404)
    const refuses = ({ action }: { action: string }) => ({ user: 'bob', allow: action !== 'letters.look' })
    const { send: refused } = open({ operator, authorize: refuses })
    expect(await status(refused('look', stock))).toEqual([403, 'console.not_allowed'])
    const payload = { of: 'letter', ...stock, id: 'd-2' }
    expect(await status(refused('payload', payload))).toEqual([403, 'console.not_allowed'])
    expect(lists).toEqual([])
    const asked: string[] = []
    const { send: allowed } = open({
      operator,
      authorize: ({ action, target }) => (asked.push(`${action} ${target}`), { user: 'ann', allow: true }),
    })
    expect(await (await allowed('look', stock)).json()).toMatchObject({ letters: [{ id: 'd-2' }, { id: 'd-3' }] })
    expect(asked).toContain('letters.look orders.placed.stock.dlq')
    expect(lists).toMatchObject([[stock, { lookAt: 1_000, lookAtBytes: 32 * 1_024 * 1_024 }]])
  })

  test('letters are gone through page by page, and a redrive says how far it is', async () => {
    const { send, get } = open({ authorize: everything })
    const pages: string[][] = []
    let after: string | null | undefined
    do {
      const page = (await (await send('look', { ...stock, limit: 1, after: after ?? undefined })).json()) as {
        letters: { id: string }[]
        next: string | null
      }
      pages.push(page.letters.map(({ id }) => id))
      after = page.next
    } while (after !== null)
    expect(pages.flat()).toEqual(['d-2', 'd-3'])
    expect(await status(send('look', { ...stock, after: 'bm8' }))).toEqual([422, 'console.input'])
    const among = { ...stock, do: 'redrive', reason: 'only those shown' }
    const chosen = (await (await send('letters', { ...among, among: ['d-3', 'gone'] })).json()) as {
      letters: { id: string }[]
    }
    expect(chosen.letters.map(({ id }) => id)).toEqual(['d-3'])
    expect(await status(send('letters', { ...among, among: 'd-3' }))).toEqual([422, 'console.input'])
    const stream = (await get('api/events')).body?.getReader()
    const heard = (async () => {
      for (let text = ''; ; ) {
        const { value, done } = (await stream?.read()) ?? { value: undefined, done: true }
        text += new TextDecoder().decode(value)
        const [, lines] = /"underWay":\{"at":\d+,"data":(\[\{[^\]]*\])/.exec(text) ?? []
        if (lines !== undefined || done) return JSON.parse(lines ?? '[]') as unknown
      }
    })()
    const reason = 'again'
    const redrive = send('letters', { ...stock, do: 'redrive', dryRun: false, perSecond: 1, reason })
    expect(await heard).toMatchObject([{ ...stock, action: 'redrive', by: 'ann', kept: 0, done: expect.any(Number) }])
    expect(await (await redrive).json()).toMatchObject({ sent: 2, to: 'group' })
    await stream?.cancel()
    await expect.poll(() => world.operator.letters.count(stock), { timeout: 30_000 }).toBe(2)
    const refused = send('letters', { ...stock, do: 'redrive', to: 'channel', dryRun: false, reason })
    expect(await status(refused)).toEqual([409, 'binder.redrive_would_repeat'])
  })

  test('one reading at a time runs in the process, whatever its group and its console', async () => {
    let [now, most] = [0, 0]
    const letters = {
      ...world.operator.letters,
      count: async () => 1,
      page: async () => {
        most = Math.max(most, ++now)
        await new Promise((resolve) => setTimeout(resolve, 20))
        now--
        return { letters: [], next: null }
      },
    }
    const operator = { ...world.operator, letters }
    const looks = ['stock', 'payments', 'audit'].map((group) =>
      open({ operator, authorize: everything }).send('look', { ...stock, group }),
    )
    expect((await Promise.all(looks)).map((answer) => answer.status)).toEqual([200, 200, 200])
    expect(most).toBe(1)
  })

  test('looks at the letters of one group wait for each other, and too many are refused', async () => {
    const { send } = open({ authorize: everything })
    const answers = await Promise.all(Array.from({ length: 12 }, () => send('look', stock)))
    const statuses = answers.map((answer) => answer.status)
    expect(statuses.filter((each) => each === 200).length).toBeGreaterThanOrEqual(6)
    expect(new Set(statuses)).toEqual(new Set([200, 429]))
    await expect.poll(async () => (await send('look', stock)).status).toBe(200)
  })

  test('no line in the audit, no payload', async () => {
    const operator = createOperator({ sql: world.sql, schema: 'without_audit' })
    const { send } = open({
      operator: { ...world.operator, recordLook: (target, note) => operator.recordLook(target, note) },
      authorize: everything,
    })
    expect(await status(send('payload', { of: 'saga', saga: 'buy', id: 'o/2' }))).toEqual([409, 'core.tables_missing'])
  })
})
