import { describe, it } from 'vitest'
// oxlint-disable no-restricted-imports -- the words of the errors
import { toTransportError } from '../../../../binder/kafka/errors.ts'
import { FakeClock } from '../fake-clock.ts'
import { Heartbeat } from '../inside.ts'

const TIMES = { sessionTimeoutMs: 10_000, heartbeatIntervalMs: 3_000, joinTimeoutMs: 35_000 }

function beating(clock: FakeClock): { heart: Heartbeat; lost: Error[] } {
  const lost: Error[] = []
  const heart = new Heartbeat(clock, TIMES, {
    onLost: (error) => void lost.push(error),
    onExpelled: () => {},
    onRebalance: () => {},
    onSilence: () => {},
  })
  heart.membership.joined()
  return { heart, lost }
}

/** Advances in steps with turns of the event loop between them, in which answers arrive. */
async function pass(clock: FakeClock, ms: number): Promise<void> {
  for (let passed = 0; passed < ms; passed += 100) {
    clock.advance(100)
    await Promise.resolve()
    await Promise.resolve()
  }
}

describe('the heartbeat of a member', () => {
  it('reports with a lost assignment why the last beat failed', async ({ expect }) => {
    const clock = new FakeClock()
    const { heart, lost } = beating(clock)
    const refused = new Error('connect ECONNREFUSED 127.0.0.1:9092')
    heart.use(() => Promise.reject(refused))
    heart.start()
    await pass(clock, 11_000)
    expect(lost).toHaveLength(1)
    expect(lost[0]?.message).toMatch(
      /^no heartbeat was answered for 10\d\d\d ms: connect ECONNREFUSED 127\.0\.0\.1:9092$/,
    )
    expect(lost[0]?.cause).toBe(refused)
  })

  it('ignores a failed beat before the last answer', async ({ expect }) => {
    const clock = new FakeClock()
    const { heart, lost } = beating(clock)
    let beat = (): Promise<void> => Promise.reject(new Error('of before'))
    heart.use(() => beat())
    heart.start()
    await pass(clock, 2_000)
    beat = () => new Promise<void>(() => {})
    await pass(clock, 1_000)
    heart.membership.confirmed()
    await pass(clock, 11_000)
    expect(lost).toHaveLength(1)
    expect(lost[0]?.message).toMatch(/^no heartbeat was answered for 10\d\d\d ms$/)
    expect(lost[0]?.cause).toBeUndefined()
  })

  it('reports a blocked event loop as the cause of a lost assignment, and not the brokers', async ({ expect }) => {
    const clock = new FakeClock()
    const { heart, lost } = beating(clock)
    heart.use(() => Promise.resolve())
    heart.start()
    await pass(clock, 2_000)
    heart.membership.confirmed()
    clock.advance(14_500)
    expect(lost[0]?.message).toBe(
      'the event loop was blocked for 14 s, or the process was stopped, and no heartbeat was sent',
    )
    const told = toTransportError(lost[0], 'consuming "t"').message
    expect(told).toContain('raise `sessionTimeoutMs`')
    expect(told).not.toContain('brokers')
  })
})
