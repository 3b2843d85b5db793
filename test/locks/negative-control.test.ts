import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Outcome, runControls } from '../support/suite/controls.ts'

describe('the lock conformance suite', () => {
  let run: (mistake: string) => Outcome
  beforeAll(async () => {
    run = await runControls(join(import.meta.dirname, 'fixtures'))
  }, 180_000)

  it('accepts the store of the controls when no mistake is built in', () => {
    const { passed, failed } = run('none')
    expect(failed).toEqual([])
    expect(passed.length).toBeGreaterThan(15)
  })

  it('refuses a store that frees locks of others', () => {
    const { failed } = run('frees-foreign-locks')
    expect(failed.join()).toContain(
      'does not let a holder whose clock stands still renew or free the lock of its successor',
    )
  })

  it('refuses a store whose tokens repeat', () => {
    const { failed } = run('repeats-tokens')
    expect(failed.join()).toContain('hands out strictly rising tokens')
  })

  it('refuses a store that lets newcomers overtake', () => {
    const { failed } = run('lets-newcomers-in')
    expect(failed.join()).toContain('does not let a try overtake a waiter')
  })

  it('refuses a store that loses a turn with the waiter it was meant for', () => {
    const { failed } = run('loses-the-turn')
    expect(failed.join()).toContain('passes the turn on when the one whose turn it is gives up in that moment')
  })

  it('accepts a store that takes the terms of claims as they are', () => {
    const { passed, failed } = run('no-mistake-in-modes')
    expect(failed).toEqual([])
    expect(passed.length).toBeGreaterThan(20)
  })

  it('refuses a store that does not count permits', () => {
    const { failed } = run('forgets-limits')
    expect(failed.join()).toContain('are given to as many as asked for')
  })

  it('refuses a store that does not let readers in together', () => {
    const { failed } = run('keeps-readers-apart')
    expect(failed.join()).toContain('lets readers in together')
  })

  it('refuses a store without the lock delay it declares', () => {
    const { failed } = run('forgets-the-delay')
    expect(failed.join()).toContain('a lock delay (exclusive) keeps others out')
    expect(failed.join()).toContain('a lock delay (shared) keeps others out')
  })
})
