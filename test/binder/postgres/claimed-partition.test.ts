// oxlint-disable no-restricted-imports -- inside of the transport: what a place holds in memory
import { expect, it } from 'vitest'
import { ClaimedPartition, type Fetched } from '../../../binder/postgres/claimed-partition.ts'
import { messageOn } from '../support/scripted-transport.ts'

const fetched = (from: number, count: number): Fetched[] =>
  Array.from({ length: count }, (_, n) => {
    const message = messageOn('numbers', 'k', from + n)
    return { position: from + n, message, bytes: 1, redelivered: false }
  })
const place = () => new ClaimedPartition({ settled: 0, handed: 0, done: [] })

it('a place hands out in order what is fetched meanwhile, what came back first', () => {
  const it = place()
  it.append(fetched(0, 3))
  const first = it.take() as Fetched
  expect(it.take()?.position).toBe(1)
  it.append(fetched(3, 2))
  it.putBack(first)
  expect([it.take(), it.take(), it.take(), it.take(), it.take()].map((each) => each?.position)).toEqual([
    0,
    2,
    3,
    4,
    undefined,
  ])
  expect([it.waiting, it.waitingBytes]).toEqual([0, 0])
})

it('a place is far behind while one message is unsettled below ten thousand that are done, all of which are written each time', () => {
  const it = place()
  it.append(fetched(0, 10_000))
  for (let n = 1; n < 10_000; n++) it.settle(n)
  expect([it.isFarBehind(50), it.isFarBehind(20_000), it.settled().done.length]).toEqual([true, false, 9_999])
  it.settle(0)
  expect([it.isFarBehind(50), it.settled().done.length]).toEqual([false, 0])
})
