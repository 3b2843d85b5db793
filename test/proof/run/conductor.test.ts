import { expect, it } from 'vitest'
import { Conductor, type Parts } from './conductor.ts'

const FULL = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })
const throws = (): never => {
  throw FULL
}

/** A run of one order that is never done, and without faults. */
function setup(fails: 'a sample' | 'the state') {
  const failure = new AbortController()
  const parts = {
    folder: {
      kept: () => undefined,
      keep: fails === 'the state' ? throws : () => {},
      file: { options: { transport: 'postgres', messages: 1, faults: 0, seed: 1, broken: undefined } },
    },
    house: {},
    staff: { troubles: [], order: () => {} },
    progress: { allUpTo: 0, done: () => Promise.resolve(0) },
    sampler: { take: fails === 'a sample' ? throws : () => {} },
    failure,
  } as unknown as Parts
  return { failure, conductor: new Conductor(parts, [], new AbortController().signal, () => {}) }
}

it.for(['a sample', 'the state'] as const)('a run ends with the error when %s cannot be written', async (fails) => {
  const { conductor } = setup(fails)
  await expect(conductor.conduct(0)).rejects.toBe(FULL)
  expect(conductor.gaveUp).toBe(false)
})

it('a run ends with the error when another part fails', async () => {
  const { conductor, failure } = setup('a sample')
  failure.abort(FULL)
  await expect(conductor.conduct(0)).rejects.toBe(FULL)
})
