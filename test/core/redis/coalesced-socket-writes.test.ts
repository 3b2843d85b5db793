// oxlint-disable no-restricted-imports -- a small part with rules of its own, not reachable from outside
import { describe, expect, it } from 'vitest'
import { CoalescedSocketWrites } from '../../../core/redis/coalesced-socket-writes.ts'

/** A stream that notes in which parts its commands leave. */
function setup() {
  const writes = new CoalescedSocketWrites()
  const parts: string[][] = []
  let corked: string[] | undefined
  const stream = {
    cork: () => {
      corked ??= []
    },
    uncork: () => {
      if (corked !== undefined && corked.length > 0) parts.push(corked)
      corked = undefined
    },
  }
  const send = (count: number): void => {
    for (let n = 1; n <= count; n++) {
      writes.begin(stream)
      if (corked === undefined) parts.push([`${n}`])
      else corked.push(`${n}`)
    }
  }
  const turn = () => new Promise((resolve) => setImmediate(resolve))
  return { writes, stream, send, parts, turn, isCorked: () => corked !== undefined }
}

describe('writing together', () => {
  it('a few commands leave at once, each by itself', () => {
    const { send, parts, isCorked } = setup()
    send(4)
    expect(parts).toEqual([['1'], ['2'], ['3'], ['4']])
    expect(isCorked()).toBe(false)
  })

  it('many leave in parts, in order, the last one at the end of the turn', async () => {
    const { send, parts, turn, isCorked } = setup()
    send(64)
    await turn()
    expect(parts.flat()).toEqual(Array.from({ length: 64 }, (_, i) => `${i + 1}`))
    expect(parts.length).toBeLessThan(20)
    expect(isCorked()).toBe(false)
  })

  it('a constant number in flight leaves in about four parts', async () => {
    const { writes, send, parts, turn } = setup()
    send(64)
    await turn()
    for (let n = 0; n < 64; n++) writes.end()
    // One write stays in flight for each that is sent, as when 64 callers wait for their answers in turns.
    for (let n = 0; n < 64; n++) writes.begin(undefined)
    parts.length = 0
    for (let n = 0; n < 64; n++) {
      writes.end()
      send(1)
    }
    await turn()
    expect(parts.flat()).toHaveLength(64)
    expect(parts).toHaveLength(4)
  })

  it('holds nothing back when the answers have come', async () => {
    const { writes, send, parts, turn } = setup()
    send(64)
    await turn()
    for (let n = 0; n < 64; n++) writes.end()
    parts.length = 0
    send(1)
    expect(parts).toEqual([['1']])
  })
})
