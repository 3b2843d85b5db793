/**
 * kill -9 of the whole process, again and again, with the data on disk. `CONCORDAT_KILL_ROUNDS=20` kills more often; the
 * outcomes are held against those of the model, which is never killed.
 */
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { type Folder, folder, start, startWithNpm } from './support/command.ts'
import { expected } from './support/model.ts'
import { mulberry32, orderFiles } from './support/orders.ts'

const ROUNDS = Number(process.env['CONCORDAT_KILL_ROUNDS'] ?? 4)
const SEED = Number(process.env['CONCORDAT_KILL_SEED'] ?? Date.now() % 1_000_000)

test(`killed ${ROUNDS} times at random moments (seed ${SEED}) and run again, it ends as if never killed`, {
  timeout: 30_000 * (ROUNDS + 3),
}, async () => {
  await using place = await folder()
  const random = mulberry32(SEED)
  const files = orderFiles({ seed: SEED, lines: 100 + 50 * ROUNDS, customers: 20, skus: 8, plenty: 0.6 })
  const args = [...(await place.orders(files)), '--data', join(place.path, 'data')]
  for (let round = 0; round < ROUNDS; round++) await killDuring(args, random)
  const { report } = await place.report(args)
  const model = expected(files)
  expect(report.orders).toEqual(model.orders)
  expect(report.ledger).toMatchObject({ chargedCents: model.chargedCents, balanced: true })
  expect(report.stock).toMatchObject({ shipped: model.shipped, balanced: true })
  expect(report.receipts).toBe(model.orders.confirmed)
})

test('killed while the database is being made, it makes it again', { timeout: 120_000 }, async () => {
  await using place = await folder()
  const files = orderFiles({ seed: 1, lines: 10 })
  const args = [...(await place.orders(files)), '--data', join(place.path, 'data')]
  await killWhenMaking(place, args)
  const { report } = await place.report(args)
  expect(report.orders).toEqual(expected(files).orders)
})

test('whoever kills npm kills the run, and the next one goes on', { timeout: 120_000 }, async () => {
  await using place = await folder()
  const files = orderFiles({ seed: 2, lines: 60 })
  const args = [...(await place.orders(files)), '--data', join(place.path, 'data')]
  const npm = startWithNpm(args)
  await new Promise<void>((resolve) => npm.child.stderr?.once('data', () => resolve()))
  npm.child.kill('SIGKILL')
  // Its pipes close when the last process that holds them is gone.
  await npm.ended
  const { report } = await place.report(args)
  expect(report.orders).toEqual(expected(files).orders)
})

/** At any moment: a third of them before the database is open, the others while orders are on their way. */
async function killDuring(args: readonly string[], random: () => number): Promise<void> {
  const { child, ended } = start(args)
  const opened = new Promise<void>((resolve) => child.stderr?.once('data', () => resolve()))
  if (random() > 0.33) await Promise.race([opened, ended])
  await Promise.race([pause(random() * 4_000), ended])
  child.kill('SIGKILL')
  await ended
}

async function killWhenMaking(place: Folder, args: readonly string[]): Promise<void> {
  const { stat } = await import('node:fs/promises')
  const { child, ended } = start(args)
  const half = join(place.path, 'data', 'pg', 'PG_VERSION')
  while ((await stat(half).catch(() => undefined)) === undefined) await pause(5)
  child.kill('SIGKILL')
  await ended
  expect(await stat(join(place.path, 'data', 'ready')).catch(() => 'not there')).toBe('not there')
}
