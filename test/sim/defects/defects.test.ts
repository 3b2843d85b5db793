import { existsSync, readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { WORKLOADS } from '../workloads.ts'
import { isPlayed, patched } from './defect.ts'
import { DEFECTS } from './defects.ts'
import { playIn } from './play.ts'

const ALL = Object.entries(DEFECTS)
const PLAYED = ALL.flatMap(([name, defect]) => (isPlayed(defect) ? [[name, defect] as const] : []))
const UNPLAYED = ALL.flatMap(([name, defect]) => (isPlayed(defect) ? [] : [[name, defect] as const]))

it.for(PLAYED)('%s fits the sources of today, and has a workload', ([, { patches, workload }]) => {
  expect(Object.keys(WORKLOADS)).toContain(workload)
  expect(patches).not.toEqual([])
  for (const file of new Set(patches.map((patch) => patch.file))) {
    const before = readFileSync(file, 'utf8')
    const after = patches.filter((patch) => patch.file === file).reduce(patched, before)
    expect(after).not.toBe(before)
  }
})

it.for(UNPLAYED)('%s names an existing test', ([, { test, notPlayed }]) => {
  expect(notPlayed).not.toBe('')
  expect(existsSync(test)).toBe(true)
})

it('the list of defects has all forty-one, by the review that found them', () => {
  const counts = Map.groupBy(ALL, ([name]) => name.split('/')[0])
  expect(Object.fromEntries([...counts].map(([review, found]) => [review, found.length]))).toEqual({
    'saga-outbox': 22,
    'locks-bus': 16,
    binder: 3,
  })
})

it('a patch is refused whose text is missing, or there more than once', () => {
  const patch = { file: 'a.ts', find: 'one', put: 'two' }
  expect(patched('one, three', patch)).toBe('two, three')
  expect(() => patched('three', patch)).toThrow('a.ts has the text 0 times')
  expect(() => patched('one, one', patch)).toThrow('a.ts has the text 2 times')
})

/** Plays one defect; `npm run sim -- --defects` plays all. */
it('the command finds a defect that is put back, in a process of its own', { timeout: 120_000 }, async () => {
  const asked = { workload: 'flows', from: 1, count: 1 }
  expect(await playIn({ ...asked, defect: 'binder/2' })).toMatchObject({ seeds: 1, invariant: 'all is settled' })
  expect(await playIn({ ...asked, defect: undefined })).toBeUndefined()
})
