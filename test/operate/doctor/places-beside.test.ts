// oxlint-disable no-restricted-imports -- inside of the command line: which groups it counts on a broker
import { TransportError } from 'concordat/binder'
import { expect, test } from 'vitest'
import { placesBeside } from '../../../packages/cli/doctor/groups.ts'

const known = [1, 2, 3].map((n) => ({ channel: `c${n}`, group: 'g' }))
const log = known.map((each) => ({ ...each, lag: 0, readers: 0 }))

test('a broker that does not answer is asked for one group of the log, and none is left out', async () => {
  let asked = 0
  const backlog = async (): Promise<never> => {
    asked++
    throw new TransportError({ transport: 'kafka', kind: 'unavailable', message: 'away' })
  }
  expect(await placesBeside(log, known, { letters: { backlog } as never, hasBroker: true })).toEqual(known)
  expect(asked).toBe(1)
})
