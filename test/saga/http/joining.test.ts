/** Code in another process that joins a global transaction: its header, and its possible actions. */

import { once } from 'node:events'
import { Refusal } from 'concordat/saga'
import {
  BranchRefused,
  currentGlobalTransaction,
  type GlobalTransaction,
  GlobalTransactionError,
  outsideGlobalTransaction,
  TRANSACTION_HEADER,
  transactionHeaders,
} from 'concordat/saga/global'
import { describe, expect, test } from 'vitest'
import { refusingSql, serverError } from '../../support/refusing-sql.ts'
import { until } from '../../support/until.ts'
import { closeWorlds, type Joining, setupJoining as setup } from '../support/joining.ts'
import { embedded } from '../support/world.ts'

closeWorlds()

const lacksKanji = (_: string, parameters: readonly unknown[]) =>
  JSON.stringify(parameters).includes('品')
    ? serverError('22P05', 'character has no equivalent in encoding "LATIN1"')
    : undefined

const statusOf = async ({ coordinator, transfer }: Joining, id: string) =>
  (await coordinator.report({ saga: transfer.name, id })).status

describe('a transaction that code in another process joins', () => {
  test('branches added by joined code are confirmed with all the rest, over any await', async () => {
    const world = await setup()
    const { other, move, transfer } = world
    const result = await world.begin('j-1', async () => {
      await currentGlobalTransaction()?.call(move, { account: 'a', cents: 1 })
      const headers = transactionHeaders()
      // Another process: it has none of this one's context.
      return outsideGlobalTransaction(() =>
        other.inheritTransaction(headers, async () => {
          await new Promise((resolve) => setImmediate(resolve))
          return other.globalTransaction(transfer, { id: 'not used', input: {} }, async (global) => {
            expect(global).toMatchObject({ name: 'transfer', id: 'j-1' })
            return global.call(move, { account: 'b', cents: 2 })
          })
        }),
      )
    })
    expect(result).toEqual({ held: 2 })
    expect(world.calls.slice(0, 2)).toEqual(['try a', 'try b'])
    expect(world.calls.slice(2).toSorted()).toEqual(['confirm a', 'confirm b'])
  })

  test('branches added by joined code are cancelled when the code here throws', async () => {
    const world = await setup()
    const { other, move } = world
    const no = new Error('no')
    const run = world.begin('j-2', async () => {
      const headers = transactionHeaders()
      await outsideGlobalTransaction(() =>
        other.inheritTransaction(headers, () => currentGlobalTransaction()?.call(move, { account: 'b', cents: 2 })),
      )
      throw no
    })
    await expect(run).rejects.toBe(no)
    expect(world.calls).toEqual(['try b', 'cancel b true'])
  })

  test.each([
    ['in ASCII', 'no stock', 'no stock'],
    ['in words that the encoding of the database lacks', '品切れ', '???'],
  ])('when code that joined fails (%s) all is cancelled, even if the caller ignores it', async (_, text, kept) => {
    const world = await setup({ coordinator: { sql: refusingSql(embedded(), lacksKanji) } })
    const { other, move, transfer } = world
    const run = world.begin('j-3', async () => {
      const headers = transactionHeaders()
      const failed = outsideGlobalTransaction(() =>
        other.inheritTransaction(headers, () =>
          other.globalTransaction(transfer, { id: 'x', input: {} }, async (global) => {
            await global.call(move, { account: 'b', cents: 2 })
            throw new Error(text)
          }),
        ),
      )
      await expect(failed).rejects.toThrow(text)
      return 'all is well'
    })
    const error = await run.catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'saga.transaction_cancelled' })
    expect((error as GlobalTransactionError<'saga.transaction_cancelled'>).failure.message).toContain(kept)
    expect(world.calls).toEqual(['try b', 'cancel b true'])
  })

  test('when code that joined by a message’s headers fails all is cancelled, even if the caller ignores it', async () => {
    const world = await setup()
    const { other, move } = world
    const run = world.begin('j-fails', async () => {
      const headers = transactionHeaders()
      const failed = outsideGlobalTransaction(() =>
        other.inheritTransaction(headers, async () => {
          await currentGlobalTransaction()?.call(move, { account: 'b', cents: 2 })
          throw new Error('no stock')
        }),
      )
      await expect(failed).rejects.toThrow('no stock')
      return 'all is well'
    })
    await expect(run).rejects.toMatchObject({ code: 'saga.transaction_cancelled' })
    expect(world.calls).toEqual(['try b', 'cancel b true'])
  })

  test('a refusal is for the code that called', async () => {
    const world = await setup({
      handlers: {
        try: () => {
          throw new Refusal('bank.closed', 'closed')
        },
      },
    })
    const { other, move } = world
    const result = await world.begin('j-4', async () => {
      const headers = transactionHeaders()
      return outsideGlobalTransaction(() =>
        other.inheritTransaction(headers, async () => {
          const refused = await currentGlobalTransaction()
            ?.call(move, { account: 'b', cents: 2 })
            .catch((error: unknown) => error)
          return refused instanceof BranchRefused ? refused.code : 'not refused'
        }),
      )
    })
    expect(result).toBe('bank.closed')
  })

  test('a branch that comes after the decision is refused, and nothing is called', async () => {
    const world = await setup()
    const { other, move } = world
    let headers = {}
    await world.begin('j-5', async () => void (headers = transactionHeaders()))
    const late = other.inheritTransaction(headers, () =>
      currentGlobalTransaction()?.call(move, { account: 'b', cents: 2 }),
    )
    await expect(late).rejects.toThrow(expect.objectContaining({ code: 'saga.transaction_ended' }))
    expect(world.calls).toEqual([])
    expect(await statusOf(world, 'j-5')).toBe('completed')
  })

  test('a branch that comes after the cancellation is refused, and so is code that joins then', async () => {
    const world = await setup()
    const { coordinator, other, move, transfer } = world
    const run = world.begin('j-8', async () => {
      const headers = transactionHeaders()
      await coordinator.cancel({ saga: transfer.name, id: 'j-8' }, { by: 'ann', reason: 'asked to' })
      const late = outsideGlobalTransaction(() =>
        other.inheritTransaction(headers, () =>
          other.globalTransaction(transfer, { id: 'x', input: {}, propagation: 'mandatory' }, (global) =>
            global.call(move, { account: 'b', cents: 2 }),
          ),
        ),
      )
      await expect(late).rejects.toThrow(expect.objectContaining({ code: 'saga.transaction_ended' }))
    })
    await expect(run).rejects.toThrow(expect.objectContaining({ code: 'saga.transaction_cancelled' }))
    expect(world.calls).toEqual([])
  })

  test('between its calls it learns by its signal that the transaction was cancelled', async () => {
    const world = await setup({ coordinator: { pollMs: 20 } })
    const { other, coordinator, transfer } = world
    const run = world.begin('j-signal', () => {
      const headers = transactionHeaders()
      return outsideGlobalTransaction(() =>
        other.inheritTransaction(headers, async () => {
          const signal = currentGlobalTransaction()?.signal as AbortSignal
          expect(signal.aborted).toBe(false)
          const aborted = new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
          await coordinator.cancel({ saga: transfer.name, id: 'j-signal' }, { by: 'ann', reason: 'too late' })
          await aborted
          expect(signal.reason).toMatchObject({ code: 'saga.transaction_ended' })
          expect(String(signal.reason)).toContain('too late')
        }),
      )
    })
    await expect(run).rejects.toMatchObject({ code: 'saga.transaction_cancelled' })
  })

  test.each(['the answer of a branch', 'its signal'])(
    'code that waits for %s learns that its transaction is gone, although another one has its id',
    async (awaited) => {
      const world = await setup({ gate: (request, _, pass) => void (request.operation === 'try' || pass()) })
      const { other, move, sql, run } = world
      const begun = world.begin('j-anew', () => {
        const headers = transactionHeaders()
        return outsideGlobalTransaction(() =>
          other.inheritTransaction(headers, async () => {
            const global = currentGlobalTransaction() as GlobalTransaction
            const ended =
              awaited === 'its signal'
                ? once(global.signal, 'abort').then(() => Promise.reject(global.signal.reason as Error))
                : global.call(move, { account: 'b', cents: 2 })
            ended.catch(() => {})
            if (awaited !== 'its signal') await until('it was asked', () => world.seen.length > 0)
            await sql.query(`UPDATE ${run}.saga SET birth = reverse(birth)`)
            await expect(ended).rejects.toMatchObject({ code: 'saga.transaction_ended' })
            await sql.query(`UPDATE ${run}.saga SET birth = reverse(birth)`)
            throw new Error('nothing is left to do')
          }),
        )
      })
      await expect(begun).rejects.toThrow('nothing is left to do')
    },
  )

  test('the headers of a message, and of `node:http`, name it as well', async () => {
    const world = await setup()
    const found = await world.begin('j-9', async () => {
      const headers = { ...transactionHeaders(), tenant: 'north', attempt: 1, raw: new Uint8Array(1), many: ['a', 'b'] }
      return outsideGlobalTransaction(() =>
        world.other.inheritTransaction(headers, () => currentGlobalTransaction()?.id),
      )
    })
    expect(found).toBe('j-9')
  })

  test('joined code passes the transaction on to others', async () => {
    const world = await setup()
    const { other, coordinator } = world
    const found = await world.begin('j-10', async () => {
      const first = transactionHeaders()
      const second = await outsideGlobalTransaction(() => other.inheritTransaction(first, () => transactionHeaders()))
      expect(second).toEqual(first)
      return outsideGlobalTransaction(() =>
        coordinator.inheritTransaction(second, () => currentGlobalTransaction()?.id),
      )
    })
    expect(found).toBe('j-10')
  })

  test('two processes that add at the same time give no call the name of another', async () => {
    const world = await setup()
    const { other, move } = world
    await world.begin('j-6', async () => {
      const headers = transactionHeaders()
      const add = (account: string) => () =>
        other.inheritTransaction(headers, () => currentGlobalTransaction()?.call(move, { account, cents: 1 }))
      const own = currentGlobalTransaction()
      await Promise.all([
        own?.call(move, { account: 'a', cents: 1 }),
        ...['b', 'c', 'd'].map((account) => outsideGlobalTransaction(add(account))),
      ])
    })
    expect(world.calls.slice(0, 4).toSorted()).toEqual(['try a', 'try b', 'try c', 'try d'])
    expect(world.calls.slice(4).toSorted()).toEqual(['confirm a', 'confirm b', 'confirm c', 'confirm d'])
  })

  test('a call that is not awaited is in the transaction before the work there is over', async () => {
    const world = await setup()
    const { other, move } = world
    await world.begin('j-7', async () => {
      const headers = transactionHeaders()
      await outsideGlobalTransaction(() =>
        other.inheritTransaction(headers, () => {
          void currentGlobalTransaction()?.call(move, { account: 'b', cents: 1 })
        }),
      )
    })
    expect(world.calls).toEqual(['try b', 'confirm b'])
  })
})

describe('propagation with a transaction that came with a request', () => {
  const inherit = async (world: Joining, id: string, work: () => Promise<unknown>) => {
    const { other } = world
    return world.begin(id, async () => {
      const headers = transactionHeaders()
      return outsideGlobalTransaction(() => other.inheritTransaction(headers, work))
    })
  }

  test('required and mandatory join it, requires-new has one of its own, never is refused', async () => {
    const world = await setup()
    const { other, transfer } = world
    const idIn = (propagation: 'required' | 'mandatory' | 'requires-new' | 'never') =>
      other.globalTransaction(transfer, { id: `own-${propagation}`, input: {}, propagation }, async ({ id }) => id)
    expect(await inherit(world, 'p-1', () => idIn('required'))).toBe('p-1')
    expect(await inherit(world, 'p-2', () => idIn('mandatory'))).toBe('p-2')
    expect(await inherit(world, 'p-3', () => idIn('requires-new'))).toBe('own-requires-new')
    await expect(inherit(world, 'p-4', () => idIn('never'))).rejects.toThrow(/transfer\/p-4 is around it/)
    await expect(idIn('mandatory')).rejects.toThrow(/no global transaction around/)
  })

  test('requires-new of the id that is around it would wait for itself, and is refused', async () => {
    const world = await setup()
    const { other, transfer } = world
    const options = { id: 'p-5', input: {}, propagation: 'requires-new' } as const
    await expect(
      inherit(world, 'p-5', () => other.globalTransaction(transfer, options, async () => {})),
    ).rejects.toThrow(/would wait for itself/)
  })

  test('supports joins one if it exists, and not supported leaves it', async () => {
    const world = await setup()
    expect(await inherit(world, 'p-6', async () => currentGlobalTransaction()?.id)).toBe('p-6')
    expect(
      await inherit(world, 'p-7', async () => outsideGlobalTransaction(() => currentGlobalTransaction()?.id)),
    ).toBeUndefined()
    expect(await world.other.inheritTransaction({}, async () => currentGlobalTransaction()?.id)).toBeUndefined()
  })
})

describe('the header', () => {
  test.for<[string, unknown]>([
    ['no name', 'front'],
    ['more than four parts', 'front/transfer/a/0192f7a0-0000-7000-8000-000000000000/x'],
    ['an id that cannot be decoded', 'front/transfer/%zz/0192f7a0-0000-7000-8000-000000000000'],
    ['an id with control characters', 'front/transfer/a%0a/0192f7a0-0000-7000-8000-000000000000'],
    ['an id that is too long', `front/transfer/${'a'.repeat(201)}/0192f7a0-0000-7000-8000-000000000000`],
    ['no birth', 'front/transfer/a/'],
    ['too much of all', 'a'.repeat(10_000)],
    ['several', ['front/transfer/a/0192f7a0', 'front/transfer/b/0192f7a0']],
  ])('with %s is refused, and not repeated', async ([, value]) => {
    const { other } = await setup()
    let isCalled = false
    const run = other.inheritTransaction({ [TRANSACTION_HEADER]: value as string }, () => void (isCalled = true))
    const error = await run.catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'saga.transaction_header' })
    expect((error as Error).message.length).toBeLessThan(250)
    expect(isCalled).toBe(false)
  })

  test('a header of another service, or of an undeclared transaction, is refused', async () => {
    const { other } = await setup()
    for (const value of ['billing/transfer/a/0192f7a0', 'front/pay/a/0192f7a0', 'front/unknown/a/0192f7a0']) {
      const run = other.inheritTransaction(new Headers({ [TRANSACTION_HEADER]: value }), () => {})
      await expect(run).rejects.toThrow(expect.objectContaining({ code: 'saga.transaction_not_here' }))
    }
  })

  test('with a wrong birth, or of a missing transaction, adds nothing', async () => {
    const world = await setup()
    const { other, move } = world
    await world.begin('h-1', async () => {
      const [header = ''] = Object.values(transactionHeaders())
      const wrong = [header.replace(/[^/]+$/, '0192f7a0-0000-7000-8000-000000000000'), header.replace('h-1', 'h-2')]
      for (const value of wrong) {
        const run = outsideGlobalTransaction(() =>
          other.inheritTransaction({ [TRANSACTION_HEADER]: value }, () =>
            currentGlobalTransaction()?.call(move, { account: 'b', cents: 1 }),
          ),
        )
        await expect(run).rejects.toThrow(expect.objectContaining({ code: 'saga.transaction_ended' }))
      }
    })
    expect(world.calls).toEqual([])
  })

  test('ids of any characters travel in it', async () => {
    const world = await setup()
    const id = 'käse/100% "ß" 日本'
    const found = await world.begin(id, async () => {
      const headers = new Headers(transactionHeaders())
      return outsideGlobalTransaction(() =>
        world.other.inheritTransaction(headers, () => currentGlobalTransaction()?.id),
      )
    })
    expect(found).toBe(id)
  })
})
