import { afterEach, describe, expect, it } from 'vitest'
import type { ScheduledJob } from '../../support/inside/election.ts'
import { drain } from '../../support/locks/fake-clock.ts'
import { closeAll, MIDNIGHT, MINUTE, recorder, setup } from '../support/jobs.ts'

afterEach(closeAll)

describe('ticks without a running process', () => {
  it('are left out without a record', async () => {
    const { clock, node } = setup()
    const first = recorder()
    const a = node([first.job])
    await clock.advance(MINUTE)
    await a.election.close()
    await clock.advance(3 * MINUTE)
    const second = recorder()
    node([second.job])
    await clock.advance(MINUTE)
    expect([first.minutes(), second.minutes()]).toEqual([[1], [5]])
  })

  it('are made up for by the newest one, with a record', async () => {
    const { clock, node } = setup()
    let done: number | undefined
    const recorded = (name: string) => {
      const made: number[] = []
      const job: ScheduledJob = {
        name: 'j',
        everyMs: MINUTE,
        work: ({ scheduledAt }) => {
          made.push((scheduledAt - MIDNIGHT) / MINUTE)
          done = scheduledAt
        },
      }
      return { name, made, start: () => node([job], { lastTick: () => done }) }
    }
    const [first, second, third] = [recorded('a'), recorded('b'), recorded('c')]
    const a = first.start()
    await clock.advance(MINUTE)
    await a.election.close()
    await clock.advance(3 * MINUTE + 30_000)
    const b = second.start()
    await drain()
    expect(second.made).toEqual([4])
    await clock.advance(MINUTE)
    expect(second.made).toEqual([4, 5])
    await b.election.close()
    third.start()
    await drain()
    expect([first.made, third.made]).toEqual([[1], []])
  })

  it('are none when the previous leader had a clock that was ahead: its work is not repeated', async () => {
    const { clock, node } = setup()
    const { job, minutes } = recorder({ everyMs: 10_000 })
    node([job], { lastTick: () => MIDNIGHT + 30_000 })
    await clock.advance(45_000)
    expect(minutes().map((minute) => minute * 60)).toEqual([40])
  })

  it('do not stop a job whose record is far in the future', async () => {
    const { clock, node } = setup()
    const { job, minutes } = recorder()
    const { schedule } = node([job], { lastTick: () => MIDNIGHT + 365 * 24 * 60 * MINUTE })
    await clock.advance(MINUTE)
    expect(minutes()).toEqual([1])
    expect(schedule.health()).toMatchObject({ status: 'down', detail: expect.stringContaining('ahead of this clock') })
  })

  it('wait for an unreadable record, which health reports', async () => {
    const { clock, node } = setup()
    const { job, minutes } = recorder()
    let isDown = true
    const { schedule } = node([job], {
      lastTick: () => {
        if (isDown) throw new Error('no database')
        return MIDNIGHT
      },
    })
    await clock.advance(2 * MINUTE)
    expect(schedule.health()).toEqual({ status: 'down', detail: 'job "j": lastTick failed: no database' })
    expect(minutes()).toEqual([])
    isDown = false
    await clock.advance(1_000)
    expect(minutes()).toEqual([2])
    expect(schedule.health()).toEqual({ status: 'up' })
  })

  it('wait for a hanging record, which health reports: its signal is aborted, and it is read again', async () => {
    const { clock, node } = setup()
    const { job, minutes } = recorder()
    const signals: AbortSignal[] = []
    const { schedule } = node([job], {
      lastTick: (_name, signal) => {
        signals.push(signal)
        return signals.length === 1 ? new Promise(() => {}) : Promise.resolve(MIDNIGHT)
      },
    })
    await clock.advance(10_000)
    const detail = 'job "j": lastTick failed: no answer in 10000 ms'
    expect(schedule.health()).toEqual({ status: 'down', detail })
    expect(signals.map(({ aborted }) => aborted)).toEqual([true])
    await clock.advance(MINUTE)
    expect(minutes()).toEqual([1])
    expect(schedule.health()).toEqual({ status: 'up' })
  })

  it.each([Number.NaN, '2026-11-20', '', true, new Date(0)])(
    'wait for a record without an instant, which health reports: %s',
    async (wrong) => {
      const { clock, node } = setup()
      const { job, minutes } = recorder()
      const { schedule } = node([job], { lastTick: () => wrong as never })
      await clock.advance(2 * MINUTE)
      expect(schedule.health()).toMatchObject({
        status: 'down',
        detail: expect.stringContaining('expected an instant'),
      })
      expect(minutes()).toEqual([])
    },
  )

  it('do not keep a leader whose record never answers', async () => {
    const { clock, node } = setup()
    const { job } = recorder()
    const { election } = node([job], { lastTick: () => new Promise(() => {}) })
    await clock.advance(MINUTE)
    let isClosed = false
    void election.close().then(() => {
      isClosed = true
    })
    await drain()
    expect(isClosed).toBe(true)
  })
})

describe('a wall clock that is set', () => {
  it('forward over several ticks has the newest one run, once', async () => {
    const { clock, node } = setup()
    const { job, minutes } = recorder({ everyMs: 1_000 })
    const { schedule } = node([job])
    await clock.advance(1_500)
    clock.suspend(5_000)
    await clock.advance(1_000)
    expect(minutes().map((minute) => Math.round(minute * 60))).toEqual([1, 7])
    expect(schedule.status()[0]?.skipped).toBe(1)
  })

  it('back by seconds repeats no tick, and back by more is followed', async () => {
    const { clock, node } = setup()
    const { job, minutes } = recorder()
    node([job])
    await clock.advance(10 * MINUTE)
    clock.suspend(-30_000)
    await clock.advance(MINUTE)
    expect(minutes().slice(-1)).toEqual([10])
    await clock.advance(MINUTE)
    expect(minutes().slice(-2)).toEqual([10, 11])
    clock.suspend(-6 * MINUTE)
    await clock.advance(3 * MINUTE)
    expect(minutes().slice(-3)).toEqual([11, 7, 8])
  })
})
