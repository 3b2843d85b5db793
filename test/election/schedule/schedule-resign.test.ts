import { afterEach, expect, it } from 'vitest'
import type { JobRun } from '../../support/inside/election.ts'
import { drain } from '../../support/locks/fake-clock.ts'
import { gate } from '../../support/until.ts'
import { closeAll, MINUTE, setup } from '../support/jobs.ts'

afterEach(closeAll)

it('a run that fails ends the term with onFailure: resign also when another tick is queued behind it, which does not run', async () => {
  const { clock, node } = setup()
  const reasons: string[] = []
  const failing = gate()
  const ran: number[] = []
  const work = async ({ run }: JobRun): Promise<void> => {
    ran.push(run)
    await failing.opened
    if (ran.length === 1) throw new Error('no')
  }
  const { election } = node([{ name: 'j', everyMs: MINUTE, overlap: 'queue', onFailure: 'resign', work }])
  election.subscribe((event) => reasons.push(event.type === 'revoked' ? event.reason : event.type))
  await clock.advance(2 * MINUTE)
  failing.open()
  await drain()
  expect(reasons.slice(0, 2)).toEqual(['granted', 'failed'])
  expect(ran).toEqual([1])
})
