/** Process of a run, in one role; the run kills and stops it at any time. */
import { describe } from '../../faults/harness/errors.ts'
import { nowMs } from '../../faults/harness/events.ts'
import type { Order, Post } from '../place.ts'
import { orderPlaced } from '../shop.ts'
import { contend } from './clerk.ts'
import { Publisher } from './publisher.ts'
import { coordinate, participate, receive } from './services.ts'
import { Site } from './site.ts'

let publisher: Publisher | undefined
let name = 'nobody'

function tell(op: string, more: object = {}): void {
  process.send?.({ at: nowMs(), process: name, type: 'note', op, ...more }, undefined, undefined, () => {})
}

async function begin(post: Post): Promise<void> {
  name = post.name
  const site = new Site(post, (level, text, error) => {
    tell('log', { level, text, ...(error !== undefined && { error: describe(error) }) })
  })
  await play(site)
  tell('began')
}

async function play(site: Site): Promise<void> {
  const { role } = site.post
  switch (role) {
    case 'publisher': {
      publisher = new Publisher(site, await site.connect({ sends: [orderPlaced] }))
      return forEver(publisher.run())
    }
    case 'orders':
      return coordinate(site)
    case 'payments':
    case 'stock':
      return participate(site, role)
    case 'receipts':
      return receive(site)
    case 'clerk':
      return forEver(contend(site))
  }
}

function forEver(loop: Promise<never>): void {
  loop.catch((error: unknown) => fail('failed', error))
}

function fail(op: string, error: unknown): void {
  tell(op, { error: describe(error) })
  process.exit(1)
}

async function obey(order: Order): Promise<void> {
  switch (order.do) {
    case 'begin':
      return begin(order)
    case 'grant':
      return publisher?.grant(order)
    case 'memory':
      globalThis.gc?.()
      return tell('memory', { memory: process.memoryUsage() })
    default:
      order satisfies never
  }
}

process.on('unhandledRejection', (error) => tell('unhandled', { error: describe(error) }))
process.on('uncaughtException', (error) => fail('uncaught', error))
process.on('disconnect', () => process.exit(0))
process.on('message', (order) => {
  obey(order as Order).catch((error: unknown) => fail('failed', error))
})
