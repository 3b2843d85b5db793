import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Outcome, runControls } from '../support/suite/controls.ts'

describe('the conformance suite refuses', () => {
  let run: (mistake: string) => Outcome
  beforeAll(async () => {
    run = await runControls(join(import.meta.dirname, 'fixtures'))
  }, 120_000)

  it('a transport that settles before the handler', () => {
    const { failed } = run('settles-first')
    expect(failed.join('\n')).toMatch(/redelivers a message whose process died in the middle of the handler/)
    expect(failed.join('\n')).toMatch(/does not settle the input while an output is unconfirmed/)
    expect(failed.join('\n')).toMatch(/does not settle the input while its dead letter is unconfirmed/)
  })

  it('a transport that settles before the copy for a delayed retry is confirmed', () => {
    const { failed } = run('settles-before-the-copy')
    expect(failed.join('\n')).toMatch(/does not settle the input while the copy for the next attempt is unconfirmed/)
  })

  it('a transport that forgets the key', () => {
    const { failed } = run('forgets-keys')
    expect(failed.join('\n')).toMatch(/order per key.*holds under concurrency/)
  })
})
