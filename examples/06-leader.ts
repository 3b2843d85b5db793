/** Leader election: one instance at a time does the work, and hands over to the next. Run: npm run example 06 */
import { memoryLockServer, memoryLocks, memoryTransport } from 'concordat/memory'
import { createService } from 'concordat/service'

const server = memoryLockServer() // stands for a Redis that two processes share

function start(instance: string) {
  const leading = Promise.withResolvers<void>()
  const service = createService({
    name: 'bank',
    instance,
    transport: memoryTransport(),
    locks: ({ instance: owner, logger }) => memoryLocks({ server, owner, logger }),
    leads: {
      // `term.term` is the fencing token for every write of the leader; `term.signal` aborts when the term ends.
      settlement: async (term) => {
        console.log(`${instance} settles, valid: ${term.validUntil() > Date.now()}`)
        leading.resolve()
        await new Promise((resolve) => term.signal.addEventListener('abort', resolve))
        console.log(`${instance} stops`)
      },
    },
  })
  return { service, leading: leading.promise, started: service.start() }
}

const first = start('bank-1')
await first.leading
const second = start('bank-2')
await second.started
await first.service.close() // hands over at once; after a crash, the hand-over takes about ten seconds
await second.leading
await second.service.close()

// Prints:
// bank-1 settles, valid: true
// bank-1 stops
// bank-2 settles, valid: true
// bank-2 stops
