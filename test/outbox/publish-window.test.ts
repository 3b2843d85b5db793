// oxlint-disable no-restricted-imports -- inside of the outbox: which rows of a window are published, and which are left
import { TransportError } from 'concordat/binder'
import { expect, test } from 'vitest'
import { publishWindow, type WindowRow } from '../../outbox/publish-window.ts'

const error = new TransportError({ transport: 'memory', kind: 'refused', message: 'the queue is full' })

function row(seq: number, destination: string): WindowRow {
  const message = {
    id: `m${seq}`,
    destination,
    key: 'k',
    type: destination,
    source: 'shop',
    contentType: 'application/json',
    time: 0,
    headers: {},
    body: null,
  }
  return { seq: String(seq), message, attempts: 0, strikes: 0 }
}

test.each([
  { first: 'was refused', outcomes: [error] },
  { first: 'has no answer yet', outcomes: undefined },
])(
  'a window that ends early leaves no row to the next one whose lane has an earlier row that $first',
  async ({ outcomes }) => {
    const [first, second, behindFirst, behindSecond] = [row(1, 'full'), row(2, 'open'), row(3, 'full'), row(4, 'open')]
    const { confirmed, rest } = await publishWindow(
      [first, second, behindFirst, behindSecond],
      async ([one]) => (one === first ? outcomes : [undefined]),
      () => true,
      () => true,
    )
    expect({ confirmed, rest }).toEqual({ confirmed: [second], rest: [behindSecond] })
  },
)
