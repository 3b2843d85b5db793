/**
 * Process that is a member of a cluster, for tests that kill or stop it. Prints nothing; reports every event.
 * Arguments: the address of Redis, the prefix, the cluster, the instance, then heartbeatMs, suspectAfterMs,
 * deadAfterMs.
 */
import { createMembership, createSharedState } from 'concordat/cluster'
import { redisStateStore } from 'concordat/redis'

export interface Heard {
  readonly type: string
  readonly version?: number
  readonly instance?: string
  readonly generation?: number
  readonly reason?: string
  /** Instances in the view. */
  readonly members?: readonly string[]
}

export type Report =
  | { readonly did: 'ready'; readonly generation: number }
  | { readonly did: 'heard'; readonly event: Heard }
  | { readonly did: 'self'; readonly event: Heard }
  | { readonly did: 'wrote' | 'left' }
  | { readonly did: 'failed'; readonly code: string }

export type Order =
  /** Write with the generation that the process began with, even if it is over. */
  { readonly do: 'write'; readonly key: string; readonly value: unknown } | { readonly do: 'leave' }

const [url = '', prefix = '', cluster = '', instance = '', ...timing] = process.argv.slice(2)
const [heartbeatMs, suspectAfterMs, deadAfterMs] = timing.map(Number)
const report = (message: Report): void => void process.send?.(message)

const store = redisStateStore({ url, prefix, answerMs: 500 })
const options = { heartbeatMs, suspectAfterMs, deadAfterMs }
const membership = createMembership({ store, cluster, service: 'test', instance, ...options })
const state = createSharedState({ store, cluster, name: 'notes' })
membership.subscribe((event) => report({ did: 'self', event }))
membership.watch((event) => {
  const { type, version, view } = event
  const members = view.members.map((member) => `${member.instance} ${member.status}`)
  const about = 'member' in event ? { instance: event.member.instance, generation: event.member.generation } : undefined
  const reason = 'reason' in event ? { reason: event.reason } : undefined
  report({ did: 'heard', event: { type, version, members, ...about, ...reason } })
})
const presence = await membership.join()
report({ did: 'ready', generation: presence.generation })

async function obey(order: Order): Promise<void> {
  if (order.do === 'write') {
    await state.put(order.key, order.value, { boundTo: presence })
    report({ did: 'wrote' })
    return
  }
  await membership.close()
  await state.close()
  await store.close()
  report({ did: 'left' })
  process.disconnect()
}

process.on('message', (order: Order) => {
  obey(order).catch((error: unknown) => report({ did: 'failed', code: String((error as { code?: string }).code) }))
})
