/** Code that joins a global transaction in a process whose coordinator closes, or does not run. */
import { currentGlobalTransaction, outsideGlobalTransaction, transactionHeaders } from 'concordat/saga/global'
import { expect, test } from 'vitest'
import { closeWorlds, closing, setupJoining as setup } from '../support/joining.ts'

closeWorlds()

test('code that joined before its coordinator closes gets the answers of its branches', async () => {
  const world = await setup()
  const { other, move } = world
  const result = await world.begin('c-1', () => {
    const headers = transactionHeaders()
    return outsideGlobalTransaction(() =>
      other.inheritTransaction(headers, async () => {
        closing.push(() => closed)
        const closed = other.close()
        await new Promise((resolve) => setImmediate(resolve))
        await currentGlobalTransaction()?.call(move, { account: 'a', cents: 1 })
        return currentGlobalTransaction()?.call(move, { account: 'b', cents: 2 })
      }),
    )
  })
  expect(result).toEqual({ held: 2 })
  expect(world.calls.slice(0, 2)).toEqual(['try a', 'try b'])
  expect(world.calls.slice(2).toSorted()).toEqual(['confirm a', 'confirm b'])
})

test('code that joins where the coordinator does not run gets the answers of its branches', async () => {
  const world = await setup()
  const idle = world.coordinate()
  closing.push(() => idle.close())
  const result = await world.begin('c-2', () => {
    const headers = transactionHeaders()
    return outsideGlobalTransaction(() =>
      idle.inheritTransaction(headers, () => currentGlobalTransaction()?.call(world.move, { account: 'a', cents: 1 })),
    )
  })
  expect(result).toEqual({ held: 1 })
  expect(world.calls).toEqual(['try a', 'confirm a'])
})

test('code that is joined for longer than its coordinator takes to close can call nothing more, and all is cancelled', async () => {
  const world = await setup()
  let late: unknown
  const brief = world.coordinate({ drainTimeoutMs: 50 })
  await brief.run()
  const run = world.begin('c-3', () => {
    const headers = transactionHeaders()
    return outsideGlobalTransaction(() =>
      brief.inheritTransaction(headers, async () => {
        await currentGlobalTransaction()?.call(world.move, { account: 'a', cents: 1 })
        await brief.close()
        late = await currentGlobalTransaction()
          ?.call(world.move, { account: 'b', cents: 2 })
          .catch((error: unknown) => error)
        throw late
      }),
    )
  })
  await expect(run).rejects.toThrow()
  expect(late).toMatchObject({ code: 'saga.transaction_ended' })
  expect(world.calls).toEqual(['try a', 'cancel a true'])
})
