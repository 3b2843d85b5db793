import { v7 } from 'uuid'
import { afterEach, expect, it, vi } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- only the simulation begins anew
import { restartIds } from '../../core/ids.ts'
import { newId } from '../support/inside/core.ts'

afterEach(() => {
  vi.restoreAllMocks()
  restartIds()
})

it('newId makes UUIDv7s that differ and sort by creation', () => {
  const ids = Array.from({ length: 10_000 }, () => newId())
  expect(new Set(ids).size).toBe(ids.length)
  expect(ids.toSorted()).toEqual(ids)
  const form = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
  expect(ids.filter((id) => !form.test(id))).toEqual([])
})

it('newId writes the time, the sequence and the randomness where uuid writes them', () => {
  restartIds()
  const drawn: Uint8Array[] = []
  const draw = crypto.getRandomValues.bind(crypto)
  vi.spyOn(crypto, 'getRandomValues').mockImplementation((bytes) => {
    draw(bytes)
    if (bytes instanceof Uint8Array) drawn.push(bytes)
    return bytes
  })
  const now = vi.spyOn(Date, 'now')
  let sequence = 0
  for (let i = 0; i < 60_000; i++) {
    const ms = 1_795_000_000_000 + Math.floor(i / 20_000)
    now.mockReturnValue(i % 1_000 === 999 ? ms - 5 : ms)
    const id = newId()
    const random = drawn.at(-1)?.subarray((i % 256) * 16, (i % 256) * 16 + 16) as Uint8Array
    const isNewMs = i % 20_000 === 0
    sequence = isNewMs ? new DataView(random.buffer, random.byteOffset).getUint32(0) >>> 1 : sequence + 1
    expect(id).toBe(v7({ random, msecs: ms, seq: sequence }))
  }
})
