import { expect, it } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- inside of core, used by three parts
import { BatchedCalls } from '../../core/batched-calls.ts'

function setup(afterwards?: (next: () => void) => void) {
  const sent: string[][] = []
  let answer = Promise.withResolvers<void>()
  const gathered = new BatchedCalls<string>((items) => {
    sent.push([...items])
    return answer.promise
  }, afterwards)
  const send = (...items: string[]): void => {
    for (const item of items) gathered.add(item, item)
    gathered.flush()
  }
  /** The call under way ends. */
  const end = async (error?: Error): Promise<void> => {
    const { resolve, reject } = answer
    answer = Promise.withResolvers()
    if (error === undefined) resolve()
    else reject(error)
    await Promise.resolve()
    await Promise.resolve()
  }
  return { gathered, sent, send, end }
}

it('gathered calls are sent at once, and those made during one together, each once', async () => {
  const { sent, send, end } = setup()
  send('a')
  send('b', 'c')
  send('b')
  expect(sent).toEqual([['a']])
  await end()
  expect(sent).toEqual([['a'], ['b', 'c']])
})

it('gathered calls continue after a failed one', async () => {
  const { sent, send, end } = setup()
  send('a')
  send('b')
  await end(new Error('away'))
  expect(sent).toEqual([['a'], ['b']])
})

it('gathered calls wait between each other for the configured time', async () => {
  const waits: Array<() => void> = []
  const { sent, send, end } = setup((next) => void waits.push(next))
  send('a')
  await end()
  send('b')
  expect(sent).toEqual([['a']])
  for (const next of waits.splice(0)) next()
  expect(sent).toEqual([['a'], ['b']])
  await end()
  for (const next of waits.splice(0)) next()
  send('c')
  expect(sent).toEqual([['a'], ['b'], ['c']])
})

it('gathered calls send nothing more after the close', async () => {
  const { gathered, sent, send, end } = setup()
  send('a')
  send('b')
  gathered.close()
  await end()
  send('c')
  expect(sent).toEqual([['a']])
})
