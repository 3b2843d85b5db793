import { createBinder, defineChannel, type Inbox, sink } from 'concordat/binder'
import { SqlError } from 'concordat/core'
import { memoryTransport } from 'concordat/memory'
import { expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'

const channel = defineChannel('numbers', { payload: z.number() })

/** A binder whose inbox answers so when asked whether it is ready. */
function setup(ready: Inbox['ready']) {
  const inbox: Inbox = {
    hasOutbox: false,
    process: async () => 'processed',
    ...(ready !== undefined && { ready }),
  }
  const bindings = [sink(channel, { group: 'g', inbox }, () => {})]
  const binder = createBinder({ service: 'test', transport: memoryTransport(), bindings })
  onTestFinished(() => binder.close())
  return binder
}

it('an inbox without its tables: the binder does not start', async () => {
  const binder = setup(() =>
    Promise.reject(new SqlError('core.tables_missing', { schema: 'concordat', call: 'inbox.migrate()' })),
  )
  await expect(binder.start()).rejects.toMatchObject({ code: 'core.tables_missing' })
})

it('a binding connects while the database of its inbox is down, and runs when it is up', async () => {
  let down = true
  const binder = setup(async () => {
    if (down) throw new Error('connect ECONNREFUSED')
  })
  await binder.start()
  expect(binder.bindings()).toMatchObject([{ state: 'connecting', error: 'connect ECONNREFUSED' }])
  down = false
  await binder.ready()
  expect(binder.bindings()).toMatchObject([{ state: 'running' }])
})

it('an inbox that is never called accepts messages as before', async () => {
  const binder = setup(undefined)
  await binder.start()
  expect(binder.bindings()).toMatchObject([{ state: 'running' }])
})
