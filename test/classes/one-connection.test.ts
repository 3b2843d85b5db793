/**
 * The outcome of a transactional step is written in that step's transaction, so planning it must not need another connection:
 * the embedded database has only one, and a pool may have none left. The coordinator in this test has read nothing before.
 */
import { defineSaga, type Saga } from 'concordat/saga'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { closeEmbedded, openEmbedded, setupWorld, stockCommands } from '../saga/support/world.ts'

beforeAll(openEmbedded, 180_000)
afterAll(closeEmbedded)

const one = { sku: 's', n: 1 }
const none = { invoke: () => 'packed', compensate: 'none' } as const
const pick = {
  transactional: true,
  invoke: async ({ tx }: { readonly tx: { query(text: string): Promise<unknown> } }) =>
    void (await tx.query('SELECT 1')),
  compensate: 'none',
} as const

const pack = defineSaga('pack', { version: 1, input: z.object({}) }).step('box', none)
const picked = defineSaga('ship', { version: 1, input: z.object({}) }).step('pick', pick)
const inner = defineSaga('inner', { version: 1, input: z.object({}) }).step('pick', pick)

const NEXT: Readonly<Record<string, Saga<unknown, unknown, object>>> = {
  'its end': picked,
  'its end, as the sub-saga of another': defineSaga('ship', { version: 1, input: z.object({}) }).saga('pick', {
    saga: inner,
    input: () => ({}),
    compensate: true,
  }),
  'a step': picked.step('next', none),
  'a transactional step': picked.step('next', pick),
  'a command': picked.command('next', { to: stockCommands, request: () => one, compensate: true }),
  'a signal': picked.signal('next', { payload: z.string() }),
  'a timer': picked.timer('next', { delay: 60_000 }),
  'a reservation': picked.tcc('next', { try: () => 1, confirm: () => {}, cancel: () => {} }),
  'a choice': picked.choose('next', () => 'box', { box: (saga) => saga.step('box', none), bag: (saga) => saga }),
  'a sub-saga': picked.saga('next', { saga: pack, input: () => ({}), compensate: true }),
  'a list of steps': picked.each('next', { over: () => [1, 2], ...none }),
  'a list of commands': picked.each('next', {
    over: () => [1, 2],
    to: stockCommands,
    request: () => one,
    compensate: true,
  }),
  'a list of sub-sagas': picked.each('next', { over: () => [1, 2], saga: pack, input: () => ({}), compensate: true }),
}

describe('a coordinator that goes on with a saga, while the one connection is in the transaction of its step, plans', () => {
  test.for(Object.entries(NEXT))('%s', async ([, saga]) => {
    const world = await setupWorld({ sagas: [saga, pack, inner] })
    // A client whose commit is not seen: the saga is due at once, for any coordinator.
    await world.sql.transaction((tx) =>
      world.coordinator.start({ ...tx, afterCommit: undefined }, saga, { id: '1', input: {} }),
    )
    await world.coordinator.close()
    const next = world.another()
    await next.run()
    await expect.poll(() => world.events('ship', '1'), { timeout: 15_000 }).toContain('invoked pick')
    await next.close()
  })
})
