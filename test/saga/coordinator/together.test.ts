// oxlint-disable no-restricted-imports -- inside of the coordinator: which reads go together cannot be seen from outside
import { expect, test } from 'vitest'
import { BatchedReads } from '../../../saga/coordinator/batched-reads.ts'

/** Records reads; each ends when the test says so. */
function setup(answer: (key: string) => string = (key) => key.toUpperCase()) {
  const reads: string[][] = []
  const gates: (() => void)[] = []
  const together = new BatchedReads<string, string>({}, async (keys) => {
    reads.push([...keys])
    await new Promise<void>((resolve) => gates.push(resolve))
    return keys.map(answer)
  })
  const letGo = async (): Promise<void> => {
    await expect.poll(() => gates.length).toBeGreaterThan(0)
    gates.shift()?.()
  }
  return { together, reads, letGo }
}

test('requests of one turn are read at once', async () => {
  const { together, reads, letGo } = setup()
  const answers = Promise.all(['a', 'b', 'c'].map((key) => together.get(key)))
  await letGo()
  expect(await answers).toEqual(['A', 'B', 'C'])
  expect(reads).toEqual([['a', 'b', 'c']])
})

test('requests during a read belong to the next one, since an answer is never older than its question', async () => {
  const { together, reads, letGo } = setup()
  const first = together.get('a')
  await expect.poll(() => reads).toEqual([['a']])
  const later = Promise.all([together.get('a'), together.get('b')])
  await letGo()
  expect(await first).toBe('A')
  await letGo()
  expect(await later).toEqual(['A', 'B'])
  expect(reads).toEqual([['a'], ['a', 'b']])
})

test('an unreadable saga fails alone', async () => {
  const together = new BatchedReads<string, string>({}, async (keys) => {
    if (keys.includes('bad')) throw new Error('unreadable')
    return keys.map((key) => key.toUpperCase())
  })
  const answers = await Promise.allSettled(['a', 'bad', 'c'].map((key) => together.get(key)))
  expect(answers).toMatchObject([
    { status: 'fulfilled', value: 'A' },
    { status: 'rejected', reason: { message: 'unreadable' } },
    { status: 'fulfilled', value: 'C' },
  ])
})

test('requests wait for no more than two time limits of a database that is away', async () => {
  let reads = 0
  const away = Object.assign(new Error('Connection terminated unexpectedly'), { code: 'ECONNRESET' })
  const together = new BatchedReads<number, number>({}, () => {
    reads++
    return Promise.reject(away)
  })
  const answers = await Promise.allSettled(Array.from({ length: 60 }, (_, n) => together.get(n)))
  expect(answers).toEqual(answers.map(() => ({ status: 'rejected', reason: away })))
  expect(reads).toBe(2)
})
