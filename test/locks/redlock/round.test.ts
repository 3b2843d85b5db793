// oxlint-disable no-restricted-imports -- a small part with rules of its own, not reachable from outside
import { describe, expect, it } from 'vitest'
import { Round, type Send } from '../../../locks/redlock/round.ts'
import { TimeoutQueue } from '../../../locks/redlock/timeout-queue.ts'
import { drain, FakeClock } from '../../support/locks/fake-clock.ts'

const YES = { kind: 'answer', answer: 1 } as const
const SILENT = { kind: 'silent', outcome: 'unknown', detail: 'no answer within 200 ms' } as const

function setup() {
  const clock = new FakeClock()
  const limits = new TimeoutQueue(clock)
  const judged: string[] = []
  const round = (limitMs = 200, send: Send = unanswered): Round =>
    new Round(limits, 3, limitMs, {
      send,
      judge: (reply, voter) => {
        judged.push(`${voter}: ${reply.kind}`)
        return reply.kind === 'answer' && reply.answer === 1
      },
    })
  return { clock, limits, judged, round }
}

const unanswered = (): void => {}

describe('a round of requests', () => {
  it('resolves each with the vote that its reply is, and is finished with the last', async () => {
    const { limits, round } = setup()
    const one = round()
    const votes = [0, 1, 2].map((voter) => one.ask(voter))
    let isFinished = false
    one.whenFinished(() => (isFinished = true))
    one.settle(1, YES)
    one.settle(0, { kind: 'answer', answer: 0 })
    expect(isFinished).toBe(false)
    one.settle(2, { kind: 'refused', detail: 'NOPERM' })
    expect(isFinished).toBe(true)
    expect(await Promise.all(votes)).toEqual([0, 1, 0])
    await limits.none()
  })

  it('counts a reply once: a late one changes nothing', async () => {
    const { clock, judged, round } = setup()
    const one = round()
    const vote = one.ask(0)
    expect(one.awaits(0)).toBe(true)
    await clock.advance(200)
    expect(one.awaits(0)).toBe(false)
    one.settle(0, YES)
    expect(await vote).toBe(0)
    expect(one.replies[0]).toEqual(SILENT)
    expect(judged).toEqual(['0: silent'])
  })

  it('reads arrived replies before it times out', async () => {
    const { clock, round } = setup()
    const one = round()
    // Both are due after a stall of the event loop: the timer is called first.
    clock.setTimer(200, () => setImmediate(() => one.settle(0, YES)))
    const vote = one.ask(0)
    await clock.advance(200)
    expect(await vote).toBe(1)
  })

  it('ends for silent servers, each round at its own time and all on one timer', async () => {
    const { clock, round } = setup()
    const long = round(300)
    const short = round(100)
    const finished = round(200)
    for (const one of [long, short, finished]) void one.ask(0)
    expect(clock.pendingTimers).toBe(1)
    finished.settle(0, YES)
    await clock.advance(99)
    expect(short.awaits(0)).toBe(true)
    await clock.advance(1)
    expect([short.awaits(0), long.awaits(0)]).toEqual([false, true])
    // Begun while a later one is waited for.
    const next = round(50)
    void next.ask(0)
    await clock.advance(50)
    expect([next.awaits(0), long.awaits(0)]).toEqual([false, true])
    await clock.advance(150)
    expect(long.awaits(0)).toBe(false)
    expect(clock.pendingTimers).toBe(0)
  })

  it('is quiet when it waits for no server any longer', async () => {
    const { clock, limits, round } = setup()
    round().tell(0)
    let isQuiet = false
    const quiet = limits.none().then(() => (isQuiet = true))
    await drain()
    expect(isQuiet).toBe(false)
    await clock.advance(200)
    await quiet
    await limits.none()
  })
})
