import { memoryLockServer, memoryLocks } from 'concordat/memory'
import { locksConformance } from '../../conformance/locks.ts'

locksConformance('memory', async () => {
  const server = memoryLockServer()
  return {
    contender: (options) => memoryLocks({ ...options, server }),
    leftovers: async () => server.keys(),
    close: async () => {},
  }
})
