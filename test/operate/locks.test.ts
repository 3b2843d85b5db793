import { once } from 'node:events'
import { createOperator } from '@concordat/cli'
import { createMembership, createSharedState } from 'concordat/cluster'
import { pgliteClient } from 'concordat/core/pglite'
import { createElection, type Term } from 'concordat/election'
import { memoryLocks, memoryStateStore } from 'concordat/memory'
import { postgresLocks, postgresStateStore } from 'concordat/postgres'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { freshPglite } from '../support/pglite.ts'
import { until } from '../support/until.ts'

const database = freshPglite()
const sql = pgliteClient(database)
beforeAll(() => database.waitReady, 180_000)
afterAll(() => database.close())

/** Leads until the term ends. */
async function untilOver({ signal }: Term): Promise<void> {
  await once(signal, 'abort')
}

const note = { by: 'ann', reason: 'the holder hangs' }

describe.each(['in the database', 'elsewhere'])('locks %s', (where) => {
  const schema = `locks_${where.length}`
  async function setup() {
    const own = postgresLocks({ sql, schema, owner: 'shop-1' })
    const locks = where === 'elsewhere' ? memoryLocks({ owner: 'shop-1' }) : own
    onTestFinished(() => locks.close())
    await own.migrate()
    const operator = createOperator({ sql, schema, ...(where === 'elsewhere' && { locks }) })
    await operator.migrate({ ...note, parts: ['operator'] })
    return { locks, operator }
  }

  test('are listed by key and shown with their line', async () => {
    const { locks, operator } = await setup()
    await locks.acquire('sku:pear')
    const lease = await locks.acquire('sku:apple')
    const waiting = locks.acquire('sku:apple', { waitMs: 60_000, owner: 'shop-2' }).catch(() => {})
    await until('it waits', async () => (await operator.locks.show('sku:apple'))?.waiters.length === 1)
    const keys = (await operator.locks.list({ prefix: 'sku:' })).map(({ key }) => key)
    expect(keys).toEqual(['sku:apple', 'sku:pear'])
    expect(await operator.locks.show('sku:apple')).toMatchObject({
      holders: [{ owner: 'shop-1', token: lease.token }],
      waiters: [{ owner: 'shop-2' }],
    })
    expect(await operator.locks.show('sku:none')).toBeUndefined()
    await locks.close()
    await waiting
  })

  test('stay with a holder that came after the operator looked', async () => {
    const { locks, operator } = await setup()
    const first = await locks.acquire('sku:fig')
    const tokens = [first.token]
    await first.release()
    const second = await locks.acquire('sku:fig', { owner: 'shop-2' })
    const refused = operator.locks.release('sku:fig', { ...note, tokens })
    await expect(refused).rejects.toMatchObject({ code: 'locks.holder_changed', holders: ['shop-2'] })
    await expect(operator.locks.release('sku:fig', { ...note, tokens: [] })).rejects.toThrow('shop-2 holds it now')
    expect(await operator.locks.show('sku:fig')).toMatchObject({ holders: [{ token: second.token }] })
    expect((await operator.audit({ limit: 1 }))[0]).toMatchObject({ outcome: 'locks.holder_changed' })
    const forced = await operator.locks.release('sku:fig', { ...note, tokens: [...tokens, second.token] })
    expect(forced.ended).toMatchObject([{ owner: 'shop-2' }])
    const odd = operator.locks.release('sku:fig', { ...note, tokens: ['1'] as never })
    await expect(odd).rejects.toThrow('forceRelease("sku:fig").tokens[0]')
  })

  test('stay with a holder that comes between the look and the release', async () => {
    const { locks } = await setup()
    let lease = await locks.acquire('election/billing')
    const late = {
      inspect: locks.inspect.bind(locks),
      list: locks.list.bind(locks),
      audit: locks.audit.bind(locks),
      forceRelease: async (...args: Parameters<typeof locks.forceRelease>) => {
        await lease.release()
        lease = await locks.acquire('election/billing', { owner: 'shop-2' })
        return locks.forceRelease(...args)
      },
    }
    const operator = createOperator({ sql, schema, locks: late })
    const changed = { code: 'locks.holder_changed', holders: ['shop-2'] }
    const stepDown = operator.leaders.stepDown('billing', { ...note, tokens: [lease.token] })
    await expect(stepDown).rejects.toMatchObject(changed)
    lease.assertValid()
    const release = operator.locks.release('election/billing', { ...note, tokens: [lease.token] })
    await expect(release).rejects.toMatchObject(changed)
    expect(await lease.release()).toBe('released')
  })

  test('are taken away with who and why, kept where they are and in the audit', async () => {
    const { locks, operator } = await setup()
    const lease = await locks.acquire('sku:plum')
    const forced = await operator.locks.release('sku:plum', note)
    expect(forced).toMatchObject({ key: 'sku:plum', ...note, ended: [{ owner: 'shop-1', token: lease.token }] })
    expect(forced.token).toBeGreaterThan(lease.token)
    expect(await operator.locks.audit('sku:plum')).toMatchObject([note])
    expect((await operator.audit({ limit: 1 }))[0]).toMatchObject({
      part: 'locks',
      action: 'release',
      target: 'sku:plum',
      outcome: 'ended shop-1',
      ...note,
    })
    await expect(operator.locks.release('sku:plum', { by: '', reason: 'x' })).rejects.toThrow('locks.release.by')
  })

  test('leaders are listed by role, and step down for the next', async () => {
    const { locks, operator } = await setup()
    const elect = (instance: string) => {
      const election = createElection({
        locks,
        role: 'settlement',
        instance,
        onGranted: untilOver,
      })
      onTestFinished(() => election.close())
      return election
    }
    const first = elect('shop-1')
    first.start()
    await until('it leads', () => first.status().state === 'leading')
    const second = elect('shop-2')
    second.start()
    await until('the other stands in line', async () => (await operator.leaders.list())[0]?.candidates.length === 1)
    const [leader] = await operator.leaders.list()
    expect(leader).toMatchObject({ role: 'settlement', instance: 'shop-1', candidates: ['shop-2'] })
    const { ended } = await operator.leaders.stepDown('settlement', note)
    expect(ended).toMatchObject([{ owner: 'shop-1', token: leader?.term }])
    await until('the other leads', () => second.status().state === 'leading')
    expect((await operator.audit({ limit: 1 }))[0]).toMatchObject({
      part: 'leader',
      action: 'step-down',
      target: 'settlement',
    })
  })
})

describe.each(['in the database', 'elsewhere'])('a cluster %s', (where) => {
  const schema = `cluster_${where.length}`
  async function setup() {
    const own = postgresStateStore({ sql, schema })
    const store = where === 'elsewhere' ? memoryStateStore() : own
    onTestFinished(() => store.close())
    await own.migrate()
    return { store, operator: createOperator({ sql, schema, ...(where === 'elsewhere' && { cluster: store }) }) }
  }

  test('is read without joining it', async () => {
    const { store, operator } = await setup()
    const options = { store, cluster: 'shop', instance: 'shop-1', service: 'orders', meta: { port: 80 } }
    const member = createMembership(options)
    onTestFinished(() => member.close())
    const presence = await member.join()
    expect(await operator.cluster.members('shop')).toEqual([
      {
        instance: 'shop-1',
        service: 'orders',
        group: null,
        status: 'alive',
        generation: presence.generation,
        joinedAt: expect.any(Number),
        meta: { port: 80 },
      },
    ])
    expect(await operator.cluster.members('nobody')).toEqual([])
    const prices = createSharedState<number>({ store, cluster: 'shop', name: 'prices' })
    onTestFinished(() => prices.close())
    const { version } = await prices.put('pear', 3)
    await prices.put('plum', 4)
    await prices.delete('plum')
    const lines = [{ key: 'pear', value: 3, version, boundTo: null }]
    expect(await operator.cluster.state('shop', 'prices')).toEqual(lines)
    await expect(operator.cluster.members('')).rejects.toThrow('cluster.members')
  })
})

test('locks and clusters that are nowhere are refused with the remedy', async () => {
  const operator = createOperator({ sql, schema: 'nowhere' })
  const missing = { code: 'operate.store_missing', message: expect.stringContaining('give createOperator `locks`') }
  await expect(operator.locks.list()).rejects.toMatchObject(missing)
  await expect(operator.leaders.list()).rejects.toMatchObject(missing)
  await expect(operator.locks.release('k', note)).rejects.toMatchObject(missing)
  await expect(operator.cluster.members('shop')).rejects.toMatchObject({ code: 'operate.store_missing' })
})
