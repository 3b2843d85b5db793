/**
 * kill -9 of the whole process, repeatedly, with the data on disk. `npm run faults -- embedded --seed N` kills 20
 * times; the outcomes are compared with those of the model, which is never killed.
 */
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { makingDatabases } from '../../support/pglite-copy.ts'
import { type Folder, folder, start, startWithNpm } from './support/command.ts'
import { faultsOfLives, playLives } from './support/lives.ts'
import { expected } from './support/model.ts'
import { orderFiles } from './support/orders.ts'

const ROUNDS = Number(process.env['CONCORDAT_KILL_ROUNDS'] ?? 4)
const SEED = Number(process.env['CONCORDAT_KILL_SEED'] ?? Date.now() % 1_000_000)

test(`killed ${ROUNDS} times at random moments (seed ${SEED}) and run again, it ends as if never killed`, {
  timeout: 60_000 * (ROUNDS + 3),
}, async () => {
  const { killed, ...lives } = await playLives({ seed: SEED, kills: ROUNDS })
  // A machine that is quicker than thought is through with its work before the last kill.
  expect(killed.starting + killed.working).toBeGreaterThanOrEqual(ROUNDS / 2)
  expect(faultsOfLives(lives)).toEqual({ 'the next goes on': [], 'nothing is missed': [], 'the books balance': [] })
})

test('a missing or unbalanced order is named', () => {
  const files = orderFiles({ seed: 3, lines: 20 })
  const model = expected(files)
  const { confirmed } = model.orders
  const stock = { opening: 0, shipped: model.shipped, closing: 0, balanced: false }
  const ledger = { openingCents: 0, chargedCents: 1, refundedCents: 0, closingCents: 0, balanced: true }
  const orders = { ...model.orders, stuck: 1 }
  const rest = { invalidLines: [], leaderTerms: 1, restarts: 0, elapsedMs: 1, ordersPerSecond: 1 }
  const report = { orders, ledger, stock, receipts: confirmed - 1, ...rest }
  expect(faultsOfLives({ report, model, ended: ['life 1 ended by itself'] })).toEqual({
    'the next goes on': ['life 1 ended by itself'],
    'nothing is missed': [
      'stuck: 1 orders, 0 without a kill',
      `${confirmed - 1} receipts of ${confirmed} confirmed orders`,
    ],
    'the books balance': [
      `charged 1 of ${model.chargedCents}, balanced: true`,
      `shipped ${model.shipped} of ${model.shipped}, balanced: false`,
    ],
  })
})

test('killed while the database is being made, it makes it again', { timeout: 120_000 }, async () => {
  await using place = await folder()
  const files = orderFiles({ seed: 1, lines: 10 })
  const args = [...(await place.orders(files)), '--data', join(place.path, 'data')]
  await killWhenMaking(place, args)
  const { report } = await place.report(args)
  expect(report.orders).toEqual(expected(files).orders)
})

test('a kill of npm kills the run, and the next one continues', { timeout: 120_000 }, async () => {
  await using place = await folder()
  const files = orderFiles({ seed: 2, lines: 60 })
  const args = [...(await place.orders(files)), '--data', join(place.path, 'data')]
  const npm = startWithNpm(args)
  await new Promise<void>((resolve) => npm.child.stderr?.once('data', () => resolve()))
  npm.child.kill('SIGKILL')
  // The pipes close when the last process that has them open ends.
  await npm.ended
  const { report } = await place.report(args)
  expect(report.orders).toEqual(expected(files).orders)
})

async function killWhenMaking(place: Folder, args: readonly string[]): Promise<void> {
  const { child, ended } = start(args, '', makingDatabases())
  const half = join(place.path, 'data', 'database', 'pg', 'PG_VERSION')
  while ((await stat(half).catch(() => undefined)) === undefined) await pause(5)
  child.kill('SIGKILL')
  await ended
  expect(await readFile(join(place.path, 'data', 'database', 'concordat'), 'utf8')).toBe('begun')
}
