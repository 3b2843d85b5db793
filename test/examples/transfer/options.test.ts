import { expect, it } from 'vitest'
import { parseOptions, UsageError } from '../../../examples/transfer/options.ts'
import { makePlan } from '../../../examples/transfer/plan.ts'

it('without options 200 transfers are made with TCC, and no process is killed', () => {
  expect(parseOptions([])).toEqual({
    kind: 'tcc',
    transfers: 200,
    kill: 0,
    seed: 1,
    processes: 2,
    postgres: undefined,
    report: undefined,
    logLevel: 'error',
  })
  expect(parseOptions(['--help'])).toBe('help')
})

it.for([
  [['--kind', 'magic'], '--kind magic: choose saga, tcc, xa, undo, code'],
  [['--transfers', '0'], '--transfers 0: expected a whole number from 1 to 100000'],
  [['--kill', '1.5'], '--kill 1.5: expected a whole number from 0 to 1000'],
  [['--processes', '5'], '--processes 5: expected a whole number from 1 to 4'],
  [['--log-level', 'loud'], '--log-level loud: choose silent, error, warn, info, debug'],
  [['--transfer', '5'], "Unknown option '--transfer'"],
] as const)('%j is refused, with the expected values', ([args, message]) => {
  expect(() => parseOptions(args)).toThrow(UsageError)
  expect(() => parseOptions(args)).toThrow(message)
})

it('a seed makes the same transfers and the same kills each time, another seed makes others', () => {
  const planOf = (seed: string) => {
    const options = parseOptions(['--seed', seed, '--kill', '5', '--transfers', '50'])
    if (options === 'help') throw new Error('no options')
    return makePlan(options)
  }
  expect(planOf('3')).toEqual(planOf('3'))
  expect(planOf('3').transfers).not.toEqual(planOf('4').transfers)
  const moments = planOf('3').kills.map(({ at }) => at)
  expect(moments).toEqual(moments.toSorted((a, b) => a - b))
})
