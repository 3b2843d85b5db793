/** A release whose schemas refuse the stored input and results of an open global transaction. */
import { defineBranch, defineGlobalTransaction } from 'concordat/saga/global'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { gate } from '../../support/until.ts'
import { bankCommands, input, openBank, transfer, withdraw } from '../support/bank.ts'
import { MortalClient } from '../support/mortal.ts'
import { closeEmbedded, embedded, openEmbedded } from '../support/world.ts'

beforeAll(openEmbedded, 120_000)
afterAll(closeEmbedded)

test('a release cancels a global transaction of a dead process whose input and results its schemas refuse', async () => {
  let isNarrow = false
  const narrower = defineGlobalTransaction('transfer', {
    input: z.object({ cents: z.number(), currency: z.string() }),
    branches: [
      defineBranch('withdraw', { to: bankCommands, reply: z.unknown().refine(() => !isNarrow) }),
      defineBranch('deposit', { to: bankCommands }),
    ],
  })
  await using bank = await openBank({}, { sagas: [narrower], leaseMs: 2_000 })
  const mortal = new MortalClient(embedded(), Number.POSITIVE_INFINITY, 'before')
  const old = bank.coordinate({ sagas: [transfer], sql: mortal })
  await old.run()
  const [tried, never] = [gate(), gate()]
  const running = old.globalTransaction(transfer, { id: 't-1', input }, async (global) => {
    await global.call(withdraw, { account: 'ann', cents: 5 })
    await global.call(withdraw, { account: 'bob', cents: 5 })
    tried.open()
    await never.opened
  })
  running.catch(() => {})
  await Promise.race([tried.opened, running])
  const release = bank.coordinate()
  await release.run()
  isNarrow = true
  mortal.dead = true
  await expect(release.get(narrower, 't-1').outcome({ timeoutMs: 10_000 })).resolves.toMatchObject({
    status: 'compensated',
  })
  expect(bank.calls).toEqual(expect.arrayContaining(['cancel ann true', 'cancel bob true']))
  never.open()
  await release.close()
})
