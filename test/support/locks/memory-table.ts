import { setTimeout as pause } from 'node:timers/promises'
import type { AcquireReply } from 'concordat/extension'
import { LockError } from 'concordat/locks'
import type { MemoryLockServer } from 'concordat/memory'
import type { Table } from './scenario.ts'

const required = (reply: AcquireReply | 'given up'): AcquireReply => {
  if (reply === 'given up')
    throw new LockError('locks.store_unavailable', { store: 'memory', outcome: 'not_done', detail: 'given up' })
  return reply
}

/** The memory server as the stage of scenarios. */
export function memoryTable(server: MemoryLockServer): Table {
  let values = 0
  return {
    seat: () => {
      const stops = new Set<() => void>()
      return {
        store: {
          newValue: () => String(++values),
          acquire: async (claim, request) => required(server.acquire(claim, request)),
          extend: async (claim, ttlMs) => server.extend(claim, ttlMs),
          release: async (claim, forgetAfterMs) => server.release(claim, forgetAfterMs),
          abandon: async (claim, forgetAfterMs) => server.abandon(claim, forgetAfterMs),
          listen: async (value, onTurn) => {
            const stop = server.listen(value, onTurn)
            stops.add(stop)
            return stop
          },
        },
        die: async () => {
          for (const stop of stops) stop()
        },
      }
    },
    inspect: async (key) => server.inspect(key),
    force: async (key) => server.forceRelease(key, { by: 'ada', reason: 'why' }, 0),
    letPlacesLapse: () => pause(3),
    settle: async () => {},
  }
}
