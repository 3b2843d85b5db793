/** Retries, dead letters with their error, and a redrive by an operator. Run: npm run example 02 */
import { defineChannel, redrive, sink } from 'concordat/binder'
import { silentLogger } from 'concordat/core'
import { memoryBroker, memoryTransport } from 'concordat/memory'
import { createService } from 'concordat/service'
import { z } from 'zod'

const emails = defineChannel('emails', { payload: z.object({ to: z.string() }), key: ({ to }) => to })

const broker = memoryBroker() // stands for a Kafka or RabbitMQ cluster
let isMailServerUp = false
const sent = Promise.withResolvers<void>()
const mailer = createService({
  name: 'mailer',
  transport: memoryTransport({ broker }),
  bindings: [
    sink(emails, { group: 'smtp', maxAttempts: 2, backoff: { initialMs: 10 } }, ({ to }, { attempt }) => {
      console.log(`${to}: attempt ${attempt}`)
      if (!isMailServerUp) throw new Error('connection refused')
      sent.resolve()
    }),
  ],
  sends: [emails],
  logger: silentLogger, // the default logs each failure to stderr
})
await mailer.start()
await mailer.send(emails, { to: 'ann@example.com' })
await mailer.send(emails, { to: 'bob@example.com' })
const deadLettered = () => mailer.binder.health().bindings[0]?.deadLettered ?? 0
while (deadLettered() < 2) await new Promise((resolve) => setTimeout(resolve, 10))

isMailServerUp = true
// A redrive uses its own connections. It usually runs in a script, here in the same program.
const host = { service: 'operations', transport: memoryTransport({ broker }) }
const report = await redrive(host, emails, 'smtp', {
  filter: (letter) => {
    console.log(`${letter.key}: ${letter.error.message}, after ${letter.attempts} attempts`)
    return letter.key === 'bob@example.com'
  },
})
await sent.promise
console.log(`${report.sent} sent back, ${report.kept} kept`)
await mailer.close()

// Prints:
// ann@example.com: attempt 1
// ann@example.com: attempt 2
// bob@example.com: attempt 1
// bob@example.com: attempt 2
// ann@example.com: connection refused, after 2 attempts
// bob@example.com: connection refused, after 2 attempts
// bob@example.com: attempt 1
// 1 sent back, 1 kept
