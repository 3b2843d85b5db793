/** Plays some hundred inputs of each target; `npm run fuzz` plays any number. */
import { afterAll, describe, expect, test } from 'vitest'
import { play } from './play.ts'
import { Broken, type Target, target } from './target.ts'
import { TARGETS } from './targets.ts'

/** Fixed seed: use the command to search with new ones. */
const SEED = 1
const before = process.listeners('unhandledRejection').length

afterAll(() => expect(process.listeners('unhandledRejection')).toHaveLength(before))

test.each(TARGETS.map((each) => [each.name, each] as const))('%s survives hostile input', async (name, each) => {
  const { failure } = await play(each, { inputs: 200, seed: SEED })
  const command = `npm run fuzz -- --target ${name} '--replay=${failure?.replay}'`
  expect(failure, `${failure?.why}\n${failure?.input}\n${command}`).toBeUndefined()
})

describe('the fuzzer', () => {
  const planted = (run: (n: number) => unknown): Target =>
    target({ name: 'planted', about: 'a mistake', input: (tape) => tape.below(1_000), run })
  const found = async (run: (n: number) => unknown, shrinks = false) =>
    (await play(planted(run), { inputs: 2_000, seed: 1, shrinks })).failure
  const nothing = undefined as unknown as { readonly of: string }

  test.each<[string, (n: number) => unknown, RegExp]>([
    ['an untyped error', (n) => n > 500 && nothing.of, /untyped TypeError: Cannot read/],
    ['a promise that does not hold', (n) => void (n > 500 && broken()), /it is broken/],
    ['a stall', (n) => n > 900 && stall(60), /stands still for \d+ ms/],
    [
      'a touched prototype',
      (n) => n > 900 && Object.assign(Array.prototype, { polluted: 1 }),
      /Array.prototype has "polluted" now/,
    ],
    [
      'a rejection of nobody',
      (n) => n > 900 && void Promise.reject(new Error('lost')),
      /a rejection that nobody handles/,
    ],
  ])('finds %s', async (_, run, why) => {
    const failure = await found(run).finally(() => Reflect.deleteProperty(Array.prototype, 'polluted'))
    expect(failure?.why).toMatch(why)
  })

  test('makes an input smaller, and plays it again', async () => {
    const run = (n: number): unknown => n > 500 && nothing.of
    const first = await found(run, true)
    expect(first?.input).toBe('501')
    const again = await play(planted(run), { inputs: 1, seed: 1, replay: first?.replay })
    expect(again.failure?.input).toBe('501')
  })

  test('counts refusals with a code, and no other error', async () => {
    const refused = Object.assign(new Error('no'), { code: 'bus.forbidden' })
    const { refused: count, failure } = await play(
      planted(() => raise(refused)),
      { inputs: 10, seed: 1 },
    )
    expect([count, failure]).toEqual([10, undefined])
    const other = Object.assign(new Error('no'), { code: 'ECONNRESET' })
    expect((await found(() => raise(other)))?.why).toContain('untyped Error: no')
  })
})

function broken(): never {
  throw new Broken('it is broken')
}

function raise(error: Error): never {
  throw error
}

/** Keeps the CPU busy for `ms` of CPU time: on a busy machine the clock says little. */
function stall(ms: number): void {
  const { user, system } = process.cpuUsage()
  for (let spent = 0; spent < ms * 1_000; ) {
    const now = process.cpuUsage()
    spent = now.user + now.system - user - system
  }
}
