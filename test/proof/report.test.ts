import { describe, expect, it } from 'vitest'
import { curveSvg } from './report/curve.ts'
import { progressText } from './report/progress-text.ts'
import { SlopeOf, WARM_UP_MS } from './report/slope.ts'
import { Thinned } from './report/thinned.ts'
import { NO_CAUSE, Stalls } from './run/stalls.ts'

describe('the longest stall', () => {
  it('is the longest time without progress during open work, by the running fault', () => {
    const stalls = new Stalls()
    stalls.see(0, 0, 10)
    stalls.see(400, 1, 10)
    stalls.blame('kill-orders', 0)
    stalls.see(1_000, 1, 10)
    expect(stalls.see(3_400, 1, 10)).toBe(3_000)
    stalls.see(3_900, 2, 10)
    stalls.blame('freeze-redis', 1)
    stalls.see(4_000, 3, 10)
    expect(stalls.longest).toEqual([
      { cause: 'kill-orders', ms: 3_500, fault: 0 },
      { cause: NO_CAUSE, ms: 400, fault: undefined },
      { cause: 'freeze-redis', ms: 100, fault: 1 },
    ])
  })

  it('counts while the database with the progress is down', () => {
    const stalls = new Stalls()
    stalls.blame('kill-postgres', 3)
    stalls.see(0, 5, 10)
    expect(stalls.see(2_000, undefined, 10)).toBe(2_000)
    expect(stalls.see(2_500, 6, 9)).toBe(0)
    expect(stalls.longest).toEqual([{ cause: 'kill-postgres', ms: 2_500, fault: 3 }])
  })

  it('does not count while no order is open', () => {
    const stalls = new Stalls()
    stalls.see(0, 5, 0)
    stalls.see(60_000, 5, 0)
    stalls.see(60_500, 6, 1)
    expect(stalls.longest).toEqual([{ cause: NO_CAUSE, ms: 500, fault: undefined }])
  })

  it('continues with those of the previous life', () => {
    const stalls = new Stalls([{ cause: 'kill-orders', ms: 9_000, fault: 4 }])
    stalls.blame('kill-orders', 7)
    stalls.see(0, 0, 1)
    stalls.see(1_000, 1, 1)
    expect(stalls.longest).toEqual([{ cause: 'kill-orders', ms: 9_000, fault: 4 }])
  })
})

describe('the slope', () => {
  const grows = (slope: SlopeOf, pid: number, from: number, level: number, perMinute: number): void => {
    for (let ms = 0; ms <= 600_000; ms += 10_000) slope.add(from + ms, pid, level + (perMinute * ms) / 60_000)
  }

  it('is the slope within the lives of a process, with any starting levels', () => {
    const slope = new SlopeOf()
    grows(slope, 1, 0, 100, 2)
    grows(slope, 2, 700_000, 500, 2)
    const { perMinute, stretches, minutes, least, most } = slope.result()
    expect(perMinute).toBeCloseTo(2, 9)
    expect({ stretches, minutes, least, most }).toEqual({ stretches: 2, minutes: 18, least: 100, most: 520 })
  })

  it('leaves the warm-up out', () => {
    const slope = new SlopeOf()
    for (let ms = 0; ms <= 600_000; ms += 10_000) slope.add(ms, 1, Math.min(ms, WARM_UP_MS) * 1_000)
    expect(slope.result().perMinute).toBeCloseTo(0, 9)
  })

  it('is undefined where each life is too short', () => {
    const slope = new SlopeOf()
    for (let pid = 1; pid < 50; pid++) for (let ms = 0; ms < 60_000; ms += 5_000) slope.add(pid * 100_000 + ms, pid, ms)
    expect(slope.result()).toMatchObject({ perMinute: undefined, stretches: 0, most: 55_000 })
  })
})

it('the curve of a report is thinned evenly at any length', () => {
  const thinned = new Thinned<number>(100)
  for (let n = 0; n < 10_000; n++) thinned.add(n)
  const { values } = thinned
  expect(values.length).toBeGreaterThan(50)
  expect(values.length).toBeLessThanOrEqual(100)
  const gaps = new Set(values.slice(1).map((value, index) => value - (values[index] ?? 0)))
  expect(gaps.size).toBe(1)
})

it('the chart has a line for each process and one for finished work, also where a process is down', () => {
  const svg = curveSvg(
    [
      { atMs: 0, done: 0, rss: { 'orders-1': 100_000_000 } },
      { atMs: 60_000, done: 50, rss: {} },
      { atMs: 120_000, done: 100, rss: { 'orders-1': 200_000_000 } },
    ],
    'a < b',
  )
  expect(svg.match(/<polyline/g)).toHaveLength(2)
  expect(svg).toContain('a &lt; b: RSS in MB')
  expect(svg).toContain('points="60.0,230.0 770.0,24.0"')
})

it('the progress line reports a run’s progress, rate and end', () => {
  const told = { orders: 2_000, faults: 20, elapsedMs: 60_000, done: 500, played: 5, stalledMs: 0, fault: undefined }
  expect(progressText(told, { ...told, elapsedMs: 50_000, done: 400 })).toBe(
    '1 min 0 s: 500 of 2000 orders, 10/s, 5 of 20 faults, about 3 min 0 s left',
  )
  expect(progressText({ ...told, stalledMs: 4_400, fault: 'kill-kafka' }, undefined)).toContain(
    '5 of 20 faults (kill-kafka), nothing for 4 s',
  )
})
